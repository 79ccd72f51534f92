"""Base, published and tuned model side by side, and the numbers that follow. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from typing import Literal

import numpy as np

from finetune_api.evaluation import Evaluator, Gate, MetricReference
from finetune_api.evaluator_types import TYPES
from finetune_api.gates import judge
from finetune_api.results import GateResult
from finetune_api.spec import FinetuneSpec
from finetune_trainer.comparison.clusters import renumbered
from finetune_trainer.comparison.statistics import Comparison, Interval, compare, gain_interval
from finetune_trainer.data.inputs import EvaluationData, RetrievalData
from finetune_trainer.errors import InvalidData, InvalidSpec
from finetune_trainer.evaluation.measures import Floats, Labels
from finetune_trainer.evaluation.retrieval_metrics import STANDARD_METRICS
from finetune_trainer.evaluation.scores import EvaluatorResult
from finetune_trainer.evaluation.units import data_sets, group_members, unit_clusters, unit_count

IntervalKey = tuple[str, int | None, str | None]


@dataclass(frozen=True)
class Measurement:
    """One evaluator of the tuned model, the base model and the published one (None where not measured)."""

    evaluator: Evaluator
    data: EvaluationData
    base: EvaluatorResult | None
    tuned: EvaluatorResult
    published: EvaluatorResult | None = None

    @property
    def baseline(self) -> EvaluatorResult | None:
        """What the tuned model is compared with: the published model if it was measured, else the base."""
        return self.published or self.base

    @property
    def compared_to(self) -> Literal["Base", "Published", "None"]:
        if self.published is not None:
            return "Published"
        return "Base" if self.base is not None else "None"

    @property
    def unit_name(self) -> Literal["queries", "rows"]:
        """What is drawn and counted; rows are pairs, triplets or texts."""
        return "queries" if isinstance(self.data, RetrievalData) else "rows"

    @cached_property
    def units(self) -> int:
        return unit_count(self.data, self.evaluator)

    @cached_property
    def labels(self) -> Labels:
        """(units,) cluster of each unit."""
        return unit_clusters(self.data, self.evaluator)

    @cached_property
    def groups(self) -> dict[str, Labels]:
        """Units of every group."""
        return group_members(self.data)

    @property
    def clusters(self) -> int:
        return int(self.labels.max()) + 1

    def clusters_of(self, group: str | None) -> int:
        return self.clusters if group is None else len(np.unique(self.labels[self.groups[group]]))

    def value(
        self, result: EvaluatorResult, metric: str, dimension: int | None, group: str | None = None
    ) -> float:
        """Of one of the models."""
        units = None if group is None else self.groups[group]
        return result.by_dimension[dimension].value(metric, units)

    def baseline_value(self, metric: str, dimension: int | None, group: str | None = None) -> float | None:
        """None without a baseline, or when it has not so many dimensions."""
        if self.baseline is None or dimension not in self.baseline.by_dimension:
            return None
        return self.value(self.baseline, metric, dimension, group)

    def interval(self, metric: str, dimension: int | None, group: str | None = None) -> Interval | None:
        """Of the gain; None without a baseline, or with one cluster."""
        if self.baseline is None or dimension not in self.baseline.by_dimension:
            return None
        if (key := (metric, dimension, group)) not in self._intervals:
            self._intervals[key] = self._drawn(self.baseline, *key)
        return self._intervals[key]

    def _drawn(
        self, baseline: EvaluatorResult, metric: str, dimension: int | None, group: str | None
    ) -> Interval | None:
        base = baseline.by_dimension[dimension].measures[metric]
        tuned = self.tuned.by_dimension[dimension].measures[metric]
        strata = data_sets(self.data, self.evaluator)
        if group is None:
            return gain_interval(base, tuned, self.labels, strata=strata)
        units = self.groups[group]
        labels = renumbered(self.labels[units].tolist())
        return gain_interval(base.picked(units), tuned.picked(units), labels)

    @cached_property
    def _intervals(self) -> dict[IntervalKey, Interval | None]:
        """Those drawn so far: gates, status and the full report ask for the same ones."""
        return {}

    def comparison(self, metric: str) -> Comparison | None:
        """Wins, ties and losses at the headline dimension; None for metrics that no single unit has."""
        base, tuned = self.unit_values(metric)
        return None if base is None or tuned is None else compare(base, tuned)

    def unit_values(self, metric: str) -> tuple[Floats | None, Floats | None]:
        """(units,) of baseline and tuned model at the headline dimension."""
        dimension, baseline = self.tuned.headline, self.baseline
        tuned = self.tuned.scores.of_units(metric)
        if baseline is None or dimension not in baseline.by_dimension:
            return None, tuned
        return baseline.by_dimension[dimension].of_units(metric), tuned


def wanted_metrics(spec: FinetuneSpec, evaluator: str) -> tuple[str, ...]:
    """Metrics to compute: those that decide, then those that its arguments name, then the standard ones."""
    one = spec.evaluation.evaluator(evaluator)
    facts = TYPES[one.type]
    standard = STANDARD_METRICS if facts.ranks else facts.metrics
    everything = ("map",) if one.type == "Reranking" else ()
    asked = _asked_by_arguments(one)
    return tuple(dict.fromkeys((*deciding_metrics(spec, evaluator), *asked, *standard, *everything)))


def _asked_by_arguments(evaluator: Evaluator) -> tuple[str, ...]:
    """`ndcg_at_k: [5]` and the like, `at_k: 20`."""
    if "at_k" in evaluator.args:
        return tuple(f"{m}@{evaluator.args['at_k']}" for m in ("ndcg", "mrr"))
    cuts = [
        (metric, k)
        for name, found in evaluator.args.items()
        if name.endswith("_at_k")
        for metric in name.removesuffix("_at_k").split("_")
        for k in found
    ]
    return tuple(f"{metric}@{k}" for metric, k in cuts)


def deciding_metrics(spec: FinetuneSpec, evaluator: str) -> tuple[str, ...]:
    """Metrics of this evaluator that a gate, the headline or the selection reads; gates first."""
    references: list[MetricReference] = [*spec.evaluation.gates, spec.evaluation.primary]
    if spec.training.selection is not None:
        references.append(spec.training.selection)
    metrics = (spec.evaluation.metric(r) for r in references if r.evaluator == evaluator)
    return tuple(dict.fromkeys(metrics))


def shown_metrics(spec: FinetuneSpec, one: Measurement) -> tuple[str, ...]:
    """Those wanted that there are: a reranker has metrics of one class or of several."""
    return tuple(m for m in wanted_metrics(spec, one.evaluator.name) if m in one.tuned.scores.measures)


def wanted_dimensions(spec: FinetuneSpec, full: int) -> tuple[int | None, ...]:
    """The headline's first: `truncateDim`, else the full one; then the full one and Matryoshka's.

    Only the vectors of an Embedding model can be cut: (None,) for all others.
    """
    if spec.model.type != "Embedding":
        return (None,)
    headline = spec.model.truncate_dim or full
    return tuple(dict.fromkeys((headline, full, *(spec.loss.matryoshka_dims or ()))))


def check_gates(spec: FinetuneSpec, data: Mapping[str, EvaluationData], *, has_baseline: bool = True) -> None:
    """data: by evaluator; has_baseline: whether there is a model to compare with.

    Raises InvalidSpec or InvalidData, before anything is trained, when a gate asks for a group or an interval
    that cannot be.
    """
    for gate in spec.evaluation.gates:
        of_gate = data[gate.evaluator]
        _require_group(gate, of_gate)
        if not gate.reads_gain:
            continue
        if not has_baseline:
            raise InvalidSpec(
                "NoBaseline",
                f"the gate on evaluator {gate.evaluator!r} asks for a gain, and there is no baseline: a"
                " part of the base model is new and cannot score before it is trained",
                "gate on `minimum` alone, or from the second run on compare with `compareTo: Published`",
            )
        _require_clusters(gate, of_gate, spec.evaluation.evaluator(gate.evaluator))


def _require_group(gate: Gate, data: EvaluationData) -> None:
    groups = group_members(data)
    if gate.group is None or gate.group in groups:
        return
    close = get_close_matches(gate.group, groups, n=1)
    known = f"found {', '.join(map(repr, list(groups)[:8]))}" if groups else "it has no `groupBy`"
    raise InvalidSpec(
        "UnknownGroup",
        f"the gate on evaluator {gate.evaluator!r} reads group {gate.group!r}, which eval set {data.name!r}"
        f" does not have; {known}",
        f"did you mean {close[0]!r}?" if close else "name a value of the `groupBy` column",
    )


def _require_clusters(gate: Gate, data: EvaluationData, evaluator: Evaluator) -> None:
    labels = unit_clusters(data, evaluator)
    if gate.group is not None:
        labels = labels[group_members(data)[gate.group]]
    if len(np.unique(labels)) > 1:
        return
    units, share = ("queries", "document") if isinstance(data, RetrievalData) else ("rows", "content")
    limit = "minimumGain" if gate.maximum_drop is None else "maximumDrop"
    raise InvalidData(
        "TooFewClusters",
        f"`{limit}` on evaluator {gate.evaluator!r} needs at least 2 groups of {units} that share no {share},"
        f" found 1 in eval set {data.name!r}",
        f"add {units} about other things, or gate on `minimum` alone",
    )


def judge_gates(spec: FinetuneSpec, measured: Sequence[Measurement]) -> list[GateResult]:
    """Every gate's verdict, at the headline dimension."""
    by_name = {m.evaluator.name: m for m in measured}
    return [_verdict(spec, gate, by_name[gate.evaluator]) for gate in spec.evaluation.gates]


def _verdict(spec: FinetuneSpec, gate: Gate, one: Measurement) -> GateResult:
    metric, dimension = spec.evaluation.metric(gate), one.tuned.headline
    interval = one.interval(metric, dimension, gate.group) if gate.reads_gain else None
    return judge(
        gate,
        metric,
        tuned=one.value(one.tuned, metric, dimension, gate.group),
        gain_low=interval.low if interval else None,
        has_baseline=one.baseline is not None,
    )
