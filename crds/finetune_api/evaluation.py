"""`spec.evaluation`: how base and tuned model are measured, and what a model must reach to be published."""

from typing import Annotated, Any, Literal, Protocol

from pydantic import Field, StringConstraints, model_validator

from finetune_api.evaluator_types import (
    TYPES,
    EvaluatorType,
    MetricName,
    cel_has_metric,
    has_metric,
    metric_name,
    named_similarity,
    wrong_metric,
)
from finetune_api.fields import ApiModel, Args, DecimalString, Name, Rule, UnitDecimal

__all__ = [
    "EvaluationSpec", "Evaluator", "EvaluatorType", "Gate", "GroupName", "MetricName", "Primary",
    "metric_name",
]  # fmt: skip

GroupName = Annotated[str, StringConstraints(min_length=1, max_length=64)]
"""A value of the eval set's `groupBy` column, or a data set of NanoBEIR."""


class Evaluator(ApiModel):
    """One way to measure. Base and tuned model are measured under identical settings."""

    name: Name
    """Name; gates, primary and selection refer to it."""
    type: EvaluatorType = "InformationRetrieval"
    """What is measured.
    InformationRetrieval: for every query, search the corpus and see where the relevant documents rank;
    NanoBEIR: the same for each of its data sets with its own corpus (a Reranker ranks the best 100 of BM25),
    the result is the mean over data sets;
    Reranking: rank each query's own candidates, which are its positives and negatives;
    Triplet: whether the positive is more similar than the negative;
    EmbeddingSimilarity (Embedding, Sparse) and Correlation (Reranker): rank correlation with given scores;
    BinaryClassification (Embedding, Sparse): pairs that belong together against those that do not;
    Classification (Reranker): the same, or one of several classes;
    MSE: distance to given embeddings of a teacher;
    Translation: whether each text finds its translation, and back;
    ParaphraseMining: find all paraphrases among all texts;
    Distillation (MultiVector): agreement with given scores of a query's documents."""
    data: Name
    """Name of the eval set."""
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 32
    """Inputs encoded, or pairs scored, at a time. Changes speed and memory only."""
    args: Args = {}
    """Further arguments of the library's evaluator, such as margin of a Triplet or at_k of a Reranking."""


class MetricReference(Protocol):
    """Whatever reads one metric of one evaluator."""

    @property
    def evaluator(self) -> str: ...
    @property
    def metric(self) -> str | None: ...


class Primary(ApiModel):
    """What columns, status and metrics show first."""

    evaluator: Name
    """Name of an evaluator."""
    metric: MetricName | None = None
    """Metric of that evaluator. Absent: ndcg@10 for rankings, else the one that its type is known for."""


class Gate(ApiModel):
    """What the tuned model must reach. All gates must hold, or nothing is published."""

    evaluator: Name
    """Name of an evaluator."""
    metric: MetricName | None = None
    """Metric of that evaluator. Absent: ndcg@10 for rankings, else the one that its type is known for."""
    group: GroupName | None = None
    """Only this group of the eval set: a value of its `groupBy` column. Absent: all of it."""
    minimum: DecimalString | None = None
    """The tuned model's value must be at least this."""
    minimum_gain: DecimalString | None = None
    """The lower end of the gain's 95 % interval must be above this; "0" asks for a gain that is no luck."""
    maximum_drop: UnitDecimal | None = None
    """The lower end of the gain's 95 % interval must be above minus this: what must not get much worse."""
    rules = (
        Rule(
            "has(self.minimum) || has(self.minimumGain) || has(self.maximumDrop)",
            "a gate must have `minimum`, `minimumGain` or `maximumDrop`",
            lambda s: s.minimum is not None or s.reads_gain,
        ),
        Rule(
            "!has(self.minimumGain) || !has(self.maximumDrop)",
            "a gate must not have both `minimumGain` and `maximumDrop`: one interval decides",
            lambda s: s.minimum_gain is None or s.maximum_drop is None,
        ),
        Rule(
            "!has(self.minimum) || double(self.minimum) <= 1.0",
            "`minimum` must be at most 1",
            lambda s: s.minimum is None or float(s.minimum) <= 1,
        ),
        Rule(
            "!has(self.minimumGain) || (double(self.minimumGain) >= -1.0 && double(self.minimumGain) < 1.0)",
            "`minimumGain` must be at least -1 and below 1",
            lambda s: s.minimum_gain is None or -1 <= float(s.minimum_gain) < 1,
        ),
    )

    @property
    def reads_gain(self) -> bool:
        """Whether it needs a baseline and an interval."""
        return self.minimum_gain is not None or self.maximum_drop is not None


_METRICS_FIT = "every `metric` must be one that its evaluator's type has"


class EvaluationSpec(ApiModel):
    """Evaluators, the headline number, and gates."""

    evaluators: Annotated[
        list[Evaluator], Field(min_length=1, max_length=8, json_schema_extra={"x-list-map-key": "name"})
    ]
    """Ways to measure."""
    primary: Primary
    """The number shown first."""
    compare_to: Literal["Base", "Published", "None"] = "Base"
    """What the tuned model is compared with. Published: the version that `output.uri` has, on the first run
    the base model; None: nothing else is measured."""
    gates: Annotated[list[Gate], Field(max_length=16)] = []
    """What the tuned model must reach. Empty: whatever comes out is published."""
    rules = (
        Rule(
            "self.evaluators.exists(e, e.name == self.primary.evaluator)",
            "`primary.evaluator` must name one of `evaluators`",
            lambda s: s.has_evaluator(s.primary.evaluator),
        ),
        Rule(
            "!has(self.gates) || self.gates.all(g, self.evaluators.exists(e, e.name == g.evaluator))",
            "every gate's `evaluator` must name one of `evaluators`",
            lambda s: all(s.has_evaluator(g.evaluator) for g in s.gates),
        ),
        Rule(
            "(!has(self.primary.metric) || self.evaluators.all(e, e.name != self.primary.evaluator"
            f" || {cel_has_metric('e', 'self.primary.metric')}))"
            " && (!has(self.gates) || self.gates.all(g, !has(g.metric) || self.evaluators.all(e,"
            f" e.name != g.evaluator || {cel_has_metric('e', 'g.metric')})))",
            _METRICS_FIT,
            lambda s: s.check_metrics(s.primary, *s.gates),
        ),
        Rule(
            "self.compareTo != 'None' || !has(self.gates)"
            " || self.gates.all(g, !has(g.minimumGain) && !has(g.maximumDrop))",
            "`minimumGain` and `maximumDrop` must be left out when `compareTo` is None: there is no gain",
            lambda s: s.compare_to != "None" or not any(g.reads_gain for g in s.gates),
        ),
    )

    @model_validator(mode="after")
    def _names_are_unique(self) -> "EvaluationSpec":
        names = [e.name for e in self.evaluators]
        if len(set(names)) < len(names):
            raise ValueError(f"evaluator names must be unique, found {names}")
        return self

    def has_evaluator(self, name: str) -> bool:
        return any(e.name == name for e in self.evaluators)

    def evaluator(self, name: str) -> Evaluator:
        """The evaluator of this name; the rules have made sure that there is one."""
        return next(e for e in self.evaluators if e.name == name)

    def metric(self, reference: MetricReference) -> str:
        """The metric that primary, gate or selection reads: its own, or the headline of its evaluator."""
        return reference.metric or self.headline(reference.evaluator)

    def headline(self, evaluator: str) -> str:
        """The metric that this evaluator is known for."""
        return TYPES[self.evaluator(evaluator).type].headline

    def metric_name(self, reference: MetricReference, similarity: str, **parts: Any) -> str:
        """The name in status of what primary, gate or selection reads; similarity: the model's."""
        type_ = self.evaluator(reference.evaluator).type
        return metric_name(
            reference.evaluator, named_similarity(type_, similarity), self.metric(reference), **parts
        )

    def check_metrics(self, *references: MetricReference) -> bool:
        """True, or a ValueError that says which metric its evaluator does not have, and which was meant."""
        for reference in references:
            type_ = self.evaluator(reference.evaluator).type
            if not has_metric(type_, metric := self.metric(reference)):
                raise ValueError(
                    f"{_METRICS_FIT}: evaluator {reference.evaluator!r}, {wrong_metric(type_, metric)}"
                )
        return True
