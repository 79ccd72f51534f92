"""`spec.evaluation`: how base and tuned model are measured, and what a model must reach to be published."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from finetune_api.fields import ApiModel, DecimalString, Name, Rule, UnitDecimal

METRIC_PATTERN = r"^(accuracy|precision|recall|ndcg|mrr|map)@[1-9][0-9]{0,2}$"

MetricName = Annotated[str, StringConstraints(pattern=METRIC_PATTERN, max_length=16)]
"""A retrieval metric with its cut-off: accuracy@k, precision@k, recall@k, ndcg@k, mrr@k, map@k; k < 1000."""


def metric_name(evaluator: str, similarity: str, metric: str, *, dimension: int | None = None) -> str:
    """The name in status and Report; dimension: only of others than the headline's."""
    suffix = "" if dimension is None else f"_dim{dimension}"
    return f"{evaluator}_{similarity}_{metric}{suffix}"


class Evaluator(ApiModel):
    """One way to measure. Base and tuned model are measured under identical settings."""

    name: Name
    """Name; gates, primary and selection refer to it."""
    type: Literal["InformationRetrieval"] = "InformationRetrieval"
    """InformationRetrieval: for every query, search the corpus and see where the relevant documents rank."""
    data: Name
    """Name of the eval set."""
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 32
    """Inputs encoded at a time. Changes speed and memory only."""


class Primary(ApiModel):
    """What columns, status and metrics show first."""

    evaluator: Name
    """Name of an evaluator."""
    metric: MetricName = "ndcg@10"
    """Metric of that evaluator."""


class Gate(ApiModel):
    """What the tuned model must reach. All gates must hold, or nothing is published."""

    evaluator: Name
    """Name of an evaluator."""
    metric: MetricName = "ndcg@10"
    """Metric of that evaluator."""
    minimum: UnitDecimal | None = None
    """The tuned model's value must be at least this."""
    minimum_gain: DecimalString | None = None
    """The lower end of the gain's 95 % interval must be above this; "0" asks for a gain that is no luck."""
    rules = (
        Rule(
            "has(self.minimum) || has(self.minimumGain)",
            "a gate must have `minimum`, `minimumGain` or both",
            lambda s: s.minimum is not None or s.minimum_gain is not None,
        ),
        Rule(
            "!has(self.minimumGain) || (double(self.minimumGain) >= -1.0 && double(self.minimumGain) < 1.0)",
            "`minimumGain` must be at least -1 and below 1",
            lambda s: s.minimum_gain is None or -1 <= float(s.minimum_gain) < 1,
        ),
    )


class EvaluationSpec(ApiModel):
    """Evaluators, the headline number, and gates."""

    evaluators: Annotated[
        list[Evaluator], Field(min_length=1, max_length=8, json_schema_extra={"x-list-map-key": "name"})
    ]
    """Ways to measure."""
    primary: Primary
    """The number shown first."""
    compare_to: Literal["Base", "None"] = "Base"
    """What the tuned model is compared with. None: the base model is not measured."""
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
            "self.compareTo != 'None' || !has(self.gates) || self.gates.all(g, !has(g.minimumGain))",
            "`minimumGain` must be left out when `compareTo` is None: without a baseline there is no gain",
            lambda s: s.compare_to != "None" or all(g.minimum_gain is None for g in s.gates),
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
