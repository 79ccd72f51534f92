"""The Report of what was measured: from measurements to what status shows. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from finetune_api.evaluator_types import metric_name, named_similarity
from finetune_api.report import Report
from finetune_api.results import GateResult, Measured, Metric, PrimaryResult
from finetune_api.spec import FinetuneSpec
from finetune_trainer.comparison.measurement import Measurement, deciding_metrics, shown_metrics
from finetune_trainer.decimals import decimal
from finetune_trainer.reporting.results import Results

_MAX_METRICS = 64


@dataclass(frozen=True)
class _Place:
    """Where a number stands."""

    one: Measurement
    metric: str
    dimension: int | None
    group: str | None = None

    @property
    def key(self) -> tuple[str, str, int | None, str | None]:
        return self.one.evaluator.name, self.metric, self.dimension, self.group


def summarise(spec: FinetuneSpec, measured: Sequence[Measurement], gates: list[GateResult]) -> Measured:
    """What status shows: the headline, then metrics from the most to the least wanted, and the gates."""
    places = {place.key: place for place in _ordered(spec, measured)}
    return Measured(
        primary=_primary(spec, measured),
        metrics=[_metric(spec, place) for place in list(places.values())[:_MAX_METRICS]],
        gates=gates,
    )


def _ordered(spec: FinetuneSpec, measured: Sequence[Measurement]) -> Iterator[_Place]:
    """Gated first, then the headline at its other dimensions and of its groups, then the rest.

    A Report is cut from its end.
    """
    by_name = {m.evaluator.name: m for m in measured}
    for gate in spec.evaluation.gates:
        one = by_name[gate.evaluator]
        yield _Place(one, spec.evaluation.metric(gate), one.tuned.headline, gate.group)
    primary = by_name[spec.evaluation.primary.evaluator]
    metric = spec.evaluation.metric(spec.evaluation.primary)
    yield from (_Place(primary, metric, n) for n in primary.tuned.by_dimension)
    yield from (_Place(primary, metric, primary.tuned.headline, group) for group in primary.groups)
    for one in (primary, *measured):
        yield from (_Place(one, m, one.tuned.headline) for m in shown_metrics(spec, one))


def _metric(spec: FinetuneSpec, place: _Place) -> Metric:
    one, metric, dimension, group = place.one, place.metric, place.dimension, place.group
    decides = metric in deciding_metrics(spec, one.evaluator.name)
    interval = one.interval(metric, dimension, group) if decides else None
    baseline = one.baseline_value(metric, dimension, group)
    similarity = named_similarity(one.evaluator.type, spec.model.similarity_name)
    other = None if dimension == one.tuned.headline else dimension
    return Metric(
        name=metric_name(one.evaluator.name, similarity, metric, dimension=other, group=_short(group)),
        baseline=None if baseline is None else decimal(baseline),
        tuned=decimal(one.value(one.tuned, metric, dimension, group)),
        gain_low=decimal(interval.low) if interval else None,
        gain_high=decimal(interval.high) if interval else None,
    )


def _short(group: str | None) -> str | None:
    """As long as a gate may name it."""
    return None if group is None else group[:64]


def _primary(spec: FinetuneSpec, measured: Sequence[Measurement]) -> PrimaryResult:
    primary = spec.evaluation.primary
    metric = spec.evaluation.metric(primary)
    one = next(m for m in measured if m.evaluator.name == primary.evaluator)
    dimension = one.tuned.headline
    baseline, tuned = one.baseline_value(metric, dimension), one.value(one.tuned, metric, dimension)
    interval = one.interval(metric, dimension)
    counts = one.comparison(metric)
    return PrimaryResult(
        name=spec.evaluation.metric_name(primary, spec.model.similarity_name),
        dimension=dimension,
        queries=one.units if one.unit_name == "queries" else None,
        rows=one.units if one.unit_name == "rows" else None,
        clusters=one.clusters,
        compared_to=one.compared_to,
        base=_base_beside_published(one, metric),
        baseline=None if baseline is None else decimal(baseline),
        tuned=decimal(tuned),
        gain=None if baseline is None else decimal(tuned - baseline),
        gain_low=decimal(interval.low) if interval else None,
        gain_high=decimal(interval.high) if interval else None,
        wins=counts.wins if counts else None,
        ties=counts.ties if counts else None,
        losses=counts.losses if counts else None,
    )


def _base_beside_published(one: Measurement, metric: str) -> str | None:
    if one.published is None or one.base is None:
        return None
    return decimal(one.value(one.base, metric, one.tuned.headline))


def build_report(results: Results) -> Report:
    """The Report of a run that was measured; `artifact` is still to come."""
    spec = results.run.spec
    return Report(
        uid=results.run.uid,
        run=results.run.run,
        outcome="Succeeded" if all(gate.passed for gate in results.gates) else "GateFailed",
        measured=summarise(spec, results.measured, results.gates),
        lineage=results.lineage,
    )
