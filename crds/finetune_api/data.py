"""`spec.data`: what is trained on and what is measured on. Columns go by role, never by order."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from finetune_api.fields import ApiModel, ColumnName, Name, Rule, SecretRef
from finetune_api.uris import DataUri

SplitName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", max_length=64)]

_SUBSET = Rule(
    "!has(self.subset) || !has(self.uri) || self.uri.startsWith('hf://')",
    "`subset` must be left out unless `uri` is an hf:// dataset",
    lambda s: s.subset is None or s.uri is None or s.uri.startswith("hf://"),
)


class Columns(ApiModel):
    """Which column plays which role. Other columns are left out of training."""

    query: ColumnName
    """Column of the queries: text or images."""
    positive: ColumnName
    """Column of the document that answers the query of its row: text or images."""
    negatives: Annotated[list[ColumnName], Field(max_length=32)] = []
    """Columns of documents that do not answer it (hard negatives). Every row needs all of them."""

    @property
    def all(self) -> list[str]:
        return [self.query, self.positive, *self.negatives]


class TableSource(ApiModel):
    """A table: parquet, JSON lines, CSV, an image folder, or a dataset of a hub."""

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
    rules = (_SUBSET,)


class TrainSet(TableSource):
    """A table to train on."""

    name: Name
    """Name of the set."""
    columns: Columns
    """Columns by role."""


class Items(TableSource):
    """A table of queries or documents with their ids."""

    id: ColumnName
    """Column of the ids, unique in the table."""
    input: ColumnName
    """Column of the texts or images."""


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
    "(has(self.uri) && has(self.columns) && !has(self.queries) && !has(self.corpus) && !has(self.qrels))"
    " || (!has(self.uri) && !has(self.columns) && !has(self.subset) && !has(self.split)"
    " && !has(self.secretRef) && has(self.queries) && has(self.corpus) && has(self.qrels))",
    "an eval set must have either `uri` and `columns` (pairs), or `queries`, `corpus` and `qrels`",
    lambda s: s.has_one_form(),
)


class EvalSet(ApiModel):
    """A set to measure on: pairs (`uri` and `columns`), or `queries`, `corpus` and `qrels`."""

    name: Name
    """Name of the set; evaluators refer to it."""
    uri: DataUri | None = None
    """Table of pairs. All positives and negatives together are the corpus; equal content is one document."""
    subset: SplitName | None = None
    """Configuration of an hf:// dataset that has several."""
    split: SplitName | None = None
    """Split, as for a train set."""
    secret_ref: SecretRef | None = None
    """Secret with key `token`."""
    columns: Columns | None = None
    """Columns of the pairs by role."""
    queries: Items | None = None
    """Table of queries."""
    corpus: Items | None = None
    """Table of documents to search in."""
    qrels: Judgements | None = None
    """Table of judgements."""
    rules = (_EVAL_FORM, _SUBSET)

    def has_one_form(self) -> bool:
        pairs = self.uri is not None and self.columns is not None
        judged = None not in (self.queries, self.corpus, self.qrels)
        of_pairs = [self.uri, self.columns, self.subset, self.split, self.secret_ref]
        of_judged = [self.queries, self.corpus, self.qrels]
        return (pairs and not any(of_judged)) or (judged and not any(of_pairs))

    @property
    def pairs(self) -> TrainSet | None:
        """The table of pairs, or None for a judged set."""
        if self.uri is None or self.columns is None:
            return None
        return TrainSet(
            name=self.name, uri=self.uri, subset=self.subset, split=self.split,
            secret_ref=self.secret_ref, columns=self.columns,
        )  # fmt: skip


def _unique(names: list[str], what: str) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{what} {name!r} must appear once, found {names.count(name)} times")


class Data(ApiModel):
    """Train and evaluation sets."""

    train: Annotated[
        list[TrainSet], Field(min_length=1, max_length=1, json_schema_extra={"x-list-map-key": "name"})
    ]
    """Table to train on."""
    eval: Annotated[
        list[EvalSet], Field(min_length=1, max_length=8, json_schema_extra={"x-list-map-key": "name"})
    ]
    """Sets to measure on."""
    overlap: Literal["Fail", "Warn", "Drop"] = "Fail"
    """What to do about a query that stands in train and in an eval set: Fail, Warn, or Drop the train row."""

    @model_validator(mode="after")
    def _names_are_unique(self) -> "Data":
        _unique([s.name for s in self.train], "train set")
        _unique([s.name for s in self.eval], "eval set")
        return self

    def eval_set(self, name: str) -> EvalSet:
        """The eval set of this name; the spec's rules have made sure that there is one."""
        return next(s for s in self.eval if s.name == name)
