"""`spec.data.hardNegatives`: documents that look like an answer and are none, found before training."""

from typing import Annotated, Literal

from pydantic import Field

from finetune_api.fields import ApiModel, ColumnName, DecimalString, Rule, UnitDecimal, ruled
from finetune_api.model_parts import OtherModel
from finetune_api.tables import TableSource

_NOT_NEGATIVE = Rule("double(self) >= 0.0", "must not be negative", lambda v: float(v) >= 0)


class MiningCorpus(TableSource):
    """A table of documents to search in."""

    input: ColumnName
    """Column of the documents."""


class HardNegatives(ApiModel):
    """Mined once before training, with the base model, for every train set of queries and positives without
    labels. A document that answers a query, in training or in evaluation, is never a negative of it;
    documents that answer any evaluation query are no negatives at all.
    """

    per_query: Annotated[int, Field(ge=1, le=32)] = 3
    """Negatives for each row; a loss takes at most 32. Rows for which fewer are found are left out; more than
    5 % of them is an error."""
    skip_top: Annotated[int, Field(ge=0, le=1000)] = 0
    """Best candidates of a query to leave out, since they may be answers that nobody has marked."""
    search_depth: Annotated[int, Field(ge=1, le=2048)] | None = None
    """Documents of a query that are candidates, best first, without its answers. Absent: `skipTop` and
    `perQuery`, or where margins or scores may rule some out, `skipTop` and ten times `perQuery`."""
    relative_margin: UnitDecimal | None = None
    """A negative's score lies at least this share of the answer's score below it; "0.05" is usual."""
    absolute_margin: Annotated[DecimalString, *ruled(_NOT_NEGATIVE)] | None = None
    """A negative's score lies at least this far below the answer's."""
    max_score: DecimalString | None = None
    """Highest score of a negative."""
    min_score: DecimalString | None = None
    """Lowest score of a negative."""
    sampling: Literal["Top", "Random"] = "Top"
    """Top: the best candidates. Random: any of them, drawn with `training.seed`."""
    corpus: MiningCorpus | None = None
    """Documents to search in beside the positives of the set."""
    retriever: OtherModel | None = None
    """Embedding model to search with. Absent: the base model; a reranker cannot search and needs one."""
    cross_encoder: OtherModel | None = None
    """Reranker that scores the candidates anew, for the margins and scores above."""
    rules = (
        Rule(
            "!has(self.searchDepth) || self.searchDepth >= self.skipTop + self.perQuery",
            "`searchDepth` must be at least `skipTop` plus `perQuery`",
            lambda s: s.search_depth is None or s.search_depth >= s.skip_top + s.per_query,
        ),
        Rule(
            "!has(self.minScore) || !has(self.maxScore) || double(self.minScore) < double(self.maxScore)",
            "`minScore` must be below `maxScore`",
            lambda s: s.min_score is None or s.max_score is None or float(s.min_score) < float(s.max_score),
        ),
        Rule(
            "!has(self.crossEncoder) || has(self.relativeMargin) || has(self.absoluteMargin)"
            " || has(self.maxScore) || has(self.minScore)",
            "`crossEncoder` must have a margin, `maxScore` or `minScore` beside it, or it decides nothing",
            lambda s: s.cross_encoder is None or s.has_limits,
        ),
    )

    @property
    def has_limits(self) -> bool:
        """Whether a candidate's score can rule it out."""
        limits = (self.relative_margin, self.absolute_margin, self.max_score, self.min_score)
        return any(limit is not None for limit in limits)


SPEC_RULE = Rule(
    "!has(self.data.hardNegatives) || self.model.type != 'Reranker'"
    " || has(self.data.hardNegatives.retriever)",
    "`data.hardNegatives.retriever` must be given for a Reranker, which cannot search",
    lambda s: (
        s.data.hard_negatives is None
        or s.model.type != "Reranker"
        or s.data.hard_negatives.retriever is not None
    ),
)
"""Rule of the whole spec."""
