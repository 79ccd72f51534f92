"""`spec.data`: what is trained on and what is measured on. Columns go by role, never by order."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from finetune_api.fields import ApiModel, ColumnName, Name, Rule, SecretRef
from finetune_api.loss import Loss
from finetune_api.uris import DataUri


def _unique(names: list[str], what: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{what} {name!r} must appear once, found {names.count(name)} times")


SplitName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", max_length=64)]

_SUBSET = Rule(
    "!has(self.subset) || !has(self.uri) || self.uri.startsWith('hf://')",
    "`subset` must be left out unless `uri` is an hf:// dataset",
    lambda s: s.subset is None or s.uri is None or s.uri.startswith("hf://"),
)


_ROLES = Rule(
    "has(self.query) == has(self.positive) && has(self.query) != (has(self.inputs) && self.inputs.size() > 0)"
    " && (has(self.query) || !has(self.negatives) || self.negatives.size() == 0)",
    "`columns` must name either `query` and `positive` (and perhaps `negatives`), or `inputs`",
    lambda c: c.has_one_form(),
)


class Columns(ApiModel):
    """Which column plays which role: `query` and `positive`, or `inputs`. Other columns are left out."""

    query: ColumnName | None = None
    """Column of the queries. Like every input: texts, images, audio, video, or a mix of them."""
    positive: ColumnName | None = None
    """Column of the document that answers the query of its row; in an eval set also a list of documents."""
    negatives: Annotated[list[ColumnName], Field(max_length=32)] = []
    """Columns of documents that do not answer it (hard negatives); in an eval set also lists of documents.
    Every row needs all of them."""
    inputs: Annotated[list[ColumnName], Field(max_length=32)] = []
    """Columns of inputs for losses and evaluators without queries, in the order that the loss wants: the two
    texts of a similarity, one text of a class, or a query and a list of documents."""
    label: ColumnName | None = None
    """Column of what the loss or evaluator is to find: a score, 0 or 1, a class, or a list of numbers."""
    rules = (_ROLES,)

    def has_one_form(self) -> bool:
        by_role = self.query is not None and self.positive is not None
        unnamed = self.query is None and self.positive is None and not self.negatives
        return by_role != bool(self.inputs) and (by_role or unnamed)

    @property
    def inputs_by_name(self) -> dict[str, str]:
        """Name that the trainer gives an input -> its column, in the order that the loss gets them."""
        if self.query is None or self.positive is None:
            return {f"input_{i}": column for i, column in enumerate(self.inputs)}
        negatives = {f"negative_{i}": column for i, column in enumerate(self.negatives)}
        return {"query": self.query, "positive": self.positive, **negatives}

    @property
    def all(self) -> list[str]:
        return [*self.inputs_by_name.values(), *([self.label] if self.label else [])]


class Combined(ApiModel):
    """One column of mixed inputs, made of several columns. A model reads the parts in the order below."""

    name: ColumnName
    """Name of the new column; `columns` refers to it."""
    text: ColumnName | None = None
    """Column of texts."""
    image: ColumnName | None = None
    """Column of images."""
    audio: ColumnName | None = None
    """Column of audio."""
    video: ColumnName | None = None
    """Column of videos."""
    rules = (
        Rule(
            "[has(self.text), has(self.image), has(self.audio), has(self.video)].filter(p, p).size() > 1",
            "a column of `combine` must have at least two of `text`, `image`, `audio` and `video`",
            lambda c: len(c.parts) > 1,
        ),
    )

    @property
    def parts(self) -> dict[str, str]:
        """Modality -> column, of those there are."""
        found = {"text": self.text, "image": self.image, "audio": self.audio, "video": self.video}
        return {kind: column for kind, column in found.items() if column is not None}


Combine = Annotated[list[Combined], Field(max_length=8, json_schema_extra={"x-list-map-key": "name"})]
MaxRows = Annotated[int, Field(ge=1, le=1_000_000_000)]


class TableSource(ApiModel):
    """A table: parquet, Arrow, JSON lines, CSV, a folder of media with metadata, or a dataset of a hub."""

    uri: DataUri
    """A file or a folder: hf://owner/name@<commit>, pvc://claim/path, s3://bucket/key, gs://bucket/key,
    oci://registry/repository@<digest>; or one file: https://host/file, configmap://name/key."""
    subset: SplitName | None = None
    """Configuration of an hf:// dataset that has several."""
    split: SplitName | None = None
    """Split of an hf:// dataset, or in a folder the files `<split>.*`, `<split>-*` or the folder `<split>`.
    Absent: a folder's only table."""
    secret_ref: SecretRef | None = None
    """Secret that opens `uri`. Its keys: for hf:// and https:// `token`; for s3:// `AWS_ACCESS_KEY_ID` and
    `AWS_SECRET_ACCESS_KEY`, perhaps `AWS_SESSION_TOKEN`, `AWS_REGION` and `AWS_ENDPOINT_URL`; for gs://
    `credentials.json`; for oci:// `.dockerconfigjson`. Absent: what the cluster gives the pod."""
    combine: Combine = []
    """Columns of mixed inputs (a text with its image, say) to make of several columns. A struct column whose
    fields are called `text`, `image`, `audio` or `video` is one already."""
    rules = (_SUBSET,)

    @model_validator(mode="after")
    def _mixes_are_unique(self) -> "TableSource":
        _unique([c.name for c in self.combine], "column of `combine`")
        return self


class TrainSet(TableSource):
    """A table to train on."""

    name: Name
    """Name of the set."""
    columns: Columns
    """Columns by role."""
    max_rows: MaxRows | None = None
    """Take only so many rows, from the start of the table."""
    loss: Loss | None = None
    """Loss of this set. Absent: `spec.loss`."""


class Items(TableSource):
    """A table of queries or documents with their ids."""

    id: ColumnName
    """Column of the ids, unique in the table."""
    input: ColumnName
    """Column of the inputs: texts, images, audio, video, or a mix."""


class Judgements(TableSource):
    """A table that says which document answers which query."""

    query: ColumnName
    """Column of query ids."""
    document: ColumnName
    """Column of document ids."""
    grade: ColumnName | None = None
    """Column of whole-number grades. Absent: every row is relevant."""
    minimum_grade: Annotated[int, Field(ge=-100, le=1000)] = 1
    """Lowest grade that counts as relevant."""


_EVAL_FORM = Rule(
    "(has(self.uri) && !has(self.queries) && !has(self.corpus) && !has(self.qrels))"
    " || (!has(self.uri) && !has(self.columns) && !has(self.subset) && !has(self.split)"
    " && !has(self.secretRef) && (!has(self.combine) || self.combine.size() == 0)"
    " && has(self.queries) && has(self.corpus) && has(self.qrels))",
    "an eval set must have either `uri` (a table, with `columns`), or `queries`, `corpus` and `qrels`",
    lambda s: s.has_one_form(),
)
_EVAL_COLUMNS = Rule(
    "!has(self.uri) || has(self.columns) || (!has(self.groupBy) && !has(self.maxRows) && !has(self.split)"
    " && !has(self.subset) && (!has(self.combine) || self.combine.size() == 0))",
    "an eval set without `columns` (folders `corpus`, `queries` and `qrels`) must have nothing but `uri`",
    lambda s: s.uri is None or s.columns is not None or s.is_bare(),
)


class EvalSet(ApiModel):
    """A set to measure on: a table (`uri` and `columns`); or `queries`, `corpus` and `qrels`; or, for a
    NanoBEIR evaluator, the `uri` of a folder or dataset with `corpus`, `queries` and `qrels` of its own.
    """

    name: Name
    """Name of the set; evaluators refer to it."""
    uri: DataUri | None = None
    """Table. For retrieval, all positives and negatives are the corpus; equal content is one document."""
    subset: SplitName | None = None
    """Configuration of an hf:// dataset that has several."""
    split: SplitName | None = None
    """Split, as for a train set."""
    secret_ref: SecretRef | None = None
    """Secret with key `token`."""
    combine: Combine = []
    """Columns of mixed inputs to make of several, as for a train set."""
    columns: Columns | None = None
    """Columns of the table by role."""
    queries: Items | None = None
    """Table of queries."""
    corpus: Items | None = None
    """Table of documents to search in."""
    qrels: Judgements | None = None
    """Table of judgements."""
    group_by: ColumnName | None = None
    """Column of the table, or of `queries`, by whose values results are also shown apart."""
    max_rows: MaxRows | None = None
    """Take only so many rows from the start of the table, or so many queries of `queries`."""
    rules = (_EVAL_FORM, _EVAL_COLUMNS, _SUBSET)

    @model_validator(mode="after")
    def _mixes_are_unique(self) -> "EvalSet":
        _unique([c.name for c in self.combine], "column of `combine`")
        return self

    def has_one_form(self) -> bool:
        of_judged = [self.queries, self.corpus, self.qrels]
        of_table = [self.columns, self.subset, self.split, self.secret_ref, *self.combine]
        if self.uri is not None:
            return not any(of_judged)
        return all(of_judged) and not any(of_table)

    def is_bare(self) -> bool:
        return not any([self.group_by, self.max_rows, self.subset, self.split, *self.combine])

    @property
    def table(self) -> TrainSet | None:
        """The table with its columns, or None for any other form."""
        if self.uri is None or self.columns is None:
            return None
        return TrainSet(
            name=self.name, uri=self.uri, subset=self.subset, split=self.split, combine=self.combine,
            secret_ref=self.secret_ref, columns=self.columns, max_rows=self.max_rows,
        )  # fmt: skip


class Data(ApiModel):
    """Train and evaluation sets."""

    train: Annotated[
        list[TrainSet], Field(min_length=1, max_length=16, json_schema_extra={"x-list-map-key": "name"})
    ]
    """Tables to train on. With several, every batch is of one of them, each as often as it has rows."""
    eval: Annotated[
        list[EvalSet], Field(min_length=1, max_length=8, json_schema_extra={"x-list-map-key": "name"})
    ]
    """Sets to measure on."""
    overlap: Literal["Fail", "Warn", "Drop"] = "Fail"
    """What to do about a train row whose query, or whose inputs, an eval set has too: Fail, Warn, or Drop the
    row."""

    @model_validator(mode="after")
    def _names_are_unique(self) -> "Data":
        _unique([s.name for s in self.train], "train set")
        _unique([s.name for s in self.eval], "eval set")
        return self

    def eval_set(self, name: str) -> EvalSet:
        """The eval set of this name; the spec's rules have made sure that there is one."""
        return next(s for s in self.eval if s.name == name)
