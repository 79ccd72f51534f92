"""Base and tuned model side by side: what is measured of them, and the numbers that follow. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from finetune_api.evaluation import Evaluator, MetricReference
from finetune_api.gates import judge
from finetune_api.spec import FinetuneSpec
from finetune_api.status import GateResult
from finetune_trainer.errors import InvalidData
from finetune_trainer.evaluation import EvaluatorResult
from finetune_trainer.inputs import EvaluationData, RetrievalData
from finetune_trainer.retrieval_metrics import STANDARD_METRICS
from finetune_trainer.statistics import Comparison, Interval, Labels, clusters, compare, paired_gain


@dataclass(frozen=True)
class Measurement:
    """One evaluator: base (None where it was not measured) and tuned model."""

    evaluator: Evaluator
    data: RetrievalData
    base: EvaluatorResult | None
    tuned: EvaluatorResult

    @cached_property
    def labels(self) -> Labels:
        """(queries,) cluster of each query."""
        return cluster_queries(self.data)

    @property
    def clusters(self) -> int:
        return int(self.labels.max()) + 1

    def interval(self, metric: str, dimension: int) -> Interval | None:
        """Of the gain; None without a base, or with one cluster."""
        if self.base is None:
            return None
        if (key := (metric, dimension)) not in self._intervals:
            base, tuned = self.base.by_dimension[dimension], self.tuned.by_dimension[dimension]
            self._intervals[key] = paired_gain(base.per_query[metric], tuned.per_query[metric], self.labels)
        return self._intervals[key]

    @cached_property
    def _intervals(self) -> dict[tuple[str, int], Interval | None]:
        """Those drawn so far: gates, status and the full report ask for the same ones."""
        return {}

    def comparison(self, metric: str) -> Comparison | None:
        """Wins, ties and losses at the headline dimension."""
        if self.base is None:
            return None
        return compare(self.base.scores.per_query[metric], self.tuned.scores.per_query[metric])


def cluster_queries(data: RetrievalData) -> Labels:
    return clusters([data.relevant[query] for query in data.queries.ids])


def wanted_metrics(spec: FinetuneSpec, evaluator: str) -> tuple[str, ...]:
    """Metrics to compute: those that decide first, then the standard ones."""
    return tuple(dict.fromkeys((*deciding_metrics(spec, evaluator), *STANDARD_METRICS)))


def deciding_metrics(spec: FinetuneSpec, evaluator: str) -> tuple[str, ...]:
    """Metrics of this evaluator that a gate, the headline or the selection reads; gates first."""
    references: list[MetricReference] = [*spec.evaluation.gates, spec.evaluation.primary]
    if spec.training.selection is not None:
        references.append(spec.training.selection)
    metrics = (spec.evaluation.metric(r) for r in references if r.evaluator == evaluator)
    return tuple(dict.fromkeys(metrics))


def wanted_dimensions(spec: FinetuneSpec, full: int) -> tuple[int, ...]:
    """The headline's first: `truncateDim`, else the full one; then the full one and Matryoshka's."""
    headline = spec.model.truncate_dim or full
    return tuple(dict.fromkeys((headline, full, *(spec.loss.matryoshka_dims or ()))))


def check_gates(spec: FinetuneSpec, data: Mapping[str, EvaluationData]) -> None:
    """Raises InvalidData, before anything is trained, when a gate asks for an interval that cannot be."""
    for gate in spec.evaluation.gates:
        name = spec.evaluation.evaluator(gate.evaluator).data
        measured = data[gate.evaluator]
        assert isinstance(measured, RetrievalData)  # noqa: S101 - there are no other evaluators yet
        if gate.minimum_gain is not None and int(cluster_queries(measured).max()) == 0:
            raise InvalidData(
                "TooFewClusters",
                f"`minimumGain` on evaluator {gate.evaluator!r} needs at least 2 groups of queries that share"
                f" no document, found 1 in eval set {name!r}",
                "add queries about other documents, or gate on `minimum` alone",
            )


def judge_gates(spec: FinetuneSpec, measured: Sequence[Measurement]) -> list[GateResult]:
    """Every gate's verdict, at the headline dimension."""
    by_name = {m.evaluator.name: m for m in measured}
    results = []
    for gate in spec.evaluation.gates:
        one = by_name[gate.evaluator]
        metric = spec.evaluation.metric(gate)
        tuned = one.tuned.scores.mean(metric)
        interval = one.interval(metric, one.tuned.headline)
        low = interval.low if interval else None
        results.append(judge(gate, metric, tuned=tuned, gain_low=low, has_baseline=one.base is not None))
    return results
