"""`spec.data`: what is trained on and what is measured on. Columns go by role, never by order."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from finetune_api.fields import ApiModel, ColumnName, Name, Rule, SecretRef
from finetune_api.hard_negatives import HardNegatives
from finetune_api.loss import Loss
from finetune_api.tables import SUBSET, Combine, MaxRows, SplitName, TableSource, require_unique
from finetune_api.uris import SECRET_OPENS_URI, DataUri

_ROLES = Rule(
    "has(self.query) == has(self.positive) && has(self.query) != (has(self.inputs) && self.inputs.size() > 0)"
    " && (has(self.query) || !has(self.negatives) || self.negatives.size() == 0)",
    "`columns` must name either `query` and `positive` (and perhaps `negatives`), or `inputs`",
    lambda c: c.has_one_form(),
)


class Columns(ApiModel):
    """Which column plays which role: `query` and `positive`, or `inputs`. Other columns are left out."""

    query: ColumnName | None = None
    """Column of the queries. Like every input: texts, images, audio, video, or a mix of them. Media stand in
    the table as bytes, or as paths relative to it; nothing is fetched from elsewhere."""
    positive: ColumnName | None = None
    """Column of the document that answers the query of its row; in an eval set also a list of documents."""
    negatives: Annotated[list[ColumnName], Field(max_length=32)] = []
    """Columns of documents that do not answer it (hard negatives); in an eval set also lists of documents.
    Every row needs all of them."""
    inputs: Annotated[list[ColumnName], Field(max_length=32)] = []
    """Columns of inputs for losses and evaluators without queries, in the order that the loss wants: the two
    texts of a similarity, one text of a class, or a query and a list of documents."""
    label: ColumnName | None = None
    """Column of what the loss or evaluator is to find: a score, 0 or 1, a class as a whole number from 0, or
    a list of numbers (scores of the row's documents, a teacher's embedding). Texts such as "0.5" are read
    as numbers."""
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
    def is_unlabelled_pair(self) -> bool:
        """Whether hard negatives can be looked for."""
        return self.query is not None and self.label is None

    @property
    def all(self) -> list[str]:
        return [*self.inputs_by_name.values(), *([self.label] if self.label else [])]


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


RANKINGS = ("InformationRetrieval", "Reranking")
"""Types of evaluators that measure rankings of a set's own documents."""


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
    rules = (_EVAL_FORM, _EVAL_COLUMNS, SUBSET, SECRET_OPENS_URI)

    @model_validator(mode="after")
    def _mixes_are_unique(self) -> "EvalSet":
        require_unique([c.name for c in self.combine], "column of `combine`")
        return self

    def has_one_form(self) -> bool:
        of_judged = [self.queries, self.corpus, self.qrels]
        of_table = [self.columns, self.subset, self.split, self.secret_ref, *self.combine]
        if self.uri is not None:
            return not any(of_judged)
        return all(of_judged) and not any(of_table)

    def suits(self, evaluator_type: str) -> bool:
        """Whether it has the form that evaluators of this type measure on."""
        if evaluator_type == "NanoBEIR":
            return self.uri is not None and self.columns is None
        if evaluator_type in RANKINGS:
            return self.qrels is not None or (self.columns is not None and self.columns.query is not None)
        return self.columns is not None

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
    hard_negatives: HardNegatives | None = None
    """Look for hard negatives before training. Absent: those of the tables alone."""
    overlap: Literal["Fail", "Warn", "Drop"] = "Fail"
    """What to do about a train row whose query, or whose inputs, an eval set has too: Fail, Warn, or Drop the
    row."""
    rules = (
        Rule(
            "!has(self.hardNegatives) || self.train.exists(t, has(t.columns.query) && !has(t.columns.label))",
            "`hardNegatives` must have a train set with `query` and `positive` and without `label`",
            lambda d: d.hard_negatives is None or any(t.columns.is_unlabelled_pair for t in d.train),
        ),
    )

    @model_validator(mode="after")
    def _names_are_unique(self) -> "Data":
        require_unique([s.name for s in self.train], "train set")
        require_unique([s.name for s in self.eval], "eval set")
        return self

    def eval_set(self, name: str) -> EvalSet:
        """The eval set of this name; the spec's rules have made sure that there is one."""
        return next(s for s in self.eval if s.name == name)
