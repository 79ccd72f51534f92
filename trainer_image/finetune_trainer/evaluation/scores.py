"""What an evaluator says of one model."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from finetune_trainer.evaluation.measures import Floats, Labels, Mean, Measure, value_of


@dataclass(frozen=True)
class Scores:
    """One evaluator at one dimension; None: of a model whose output has none to choose.

    measures: by metric, over the same units; details: further numbers that are no quality, such as the
    threshold that an accuracy is measured at.
    """

    evaluator: str
    dimension: int | None
    units: int
    measures: Mapping[str, Measure]
    details: dict[str, float] = field(default_factory=dict)

    def value(self, metric: str, units: Labels | None = None) -> float:
        """The metric; units: only of these."""
        measure = self.measures[metric]
        if units is None:
            return value_of(measure, self.units)
        return value_of(measure.picked(units), len(units))

    def of_units(self, metric: str) -> Floats | None:
        """(units,) the metric of every unit; None where no single unit has it, as a correlation."""
        measure = self.measures[metric]
        return measure.values if isinstance(measure, Mean) else None


@dataclass(frozen=True)
class Ranking:
    """What a model found for every query, at the headline dimension.

    top_documents: query id -> ids of the best documents, best first; ranks: query id -> relevant document ->
    its rank from 1, of those that were found among the first `depth`.
    """

    top_documents: dict[str, tuple[str, ...]]
    ranks: dict[str, dict[str, int]]
    depth: int


@dataclass(frozen=True)
class EvaluatorResult:
    """by_dimension: headline first; headline: what gates read; ranking: of evaluators that rank."""

    by_dimension: dict[int | None, Scores]
    headline: int | None
    ranking: Ranking | None = None

    @property
    def scores(self) -> Scores:
        """At the headline dimension."""
        return self.by_dimension[self.headline]
