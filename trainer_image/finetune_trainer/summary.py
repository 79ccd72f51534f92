"""The Report of what was measured: from measurements to what status shows. Pure."""

from collections.abc import Iterator, Sequence

from finetune_api.evaluation import metric_name
from finetune_api.report import Report
from finetune_api.spec import FinetuneSpec
from finetune_api.status import GateResult, Measured, Metric, PrimaryResult
from finetune_trainer.decimals import decimal
from finetune_trainer.measurement import Measurement, deciding_metrics, wanted_metrics
from finetune_trainer.results import Results

_MAX_METRICS = 64


def summarise(spec: FinetuneSpec, measured: Sequence[Measurement], gates: list[GateResult]) -> Measured:
    """What status shows: the headline, then metrics from the most to the least wanted, and the gates."""
    names = list(_ordered(spec, measured))[:_MAX_METRICS]
    return Measured(
        primary=_primary(spec, measured),
        metrics=[_metric(spec, one, metric, dimension) for one, metric, dimension in names],
        gates=gates,
    )


def _ordered(spec: FinetuneSpec, measured: Sequence[Measurement]) -> Iterator[tuple[Measurement, str, int]]:
    """Gated first, then the headline at its other dimensions, then the rest: a Report is cut from its end."""
    by_name = {m.evaluator.name: m for m in measured}
    primary = by_name[spec.evaluation.primary.evaluator]
    wanted = [(by_name[g.evaluator], spec.evaluation.metric(g)) for g in spec.evaluation.gates]
    places = [(one, metric, one.tuned.headline) for one, metric in wanted]
    places += [
        (primary, spec.evaluation.metric(spec.evaluation.primary), n) for n in primary.tuned.by_dimension
    ]
    places += [
        (one, metric, one.tuned.headline)
        for one in (primary, *measured)
        for metric in wanted_metrics(spec, one.evaluator.name)
    ]
    seen: set[tuple[str, str, int]] = set()
    for one, metric, dimension in places:
        if (key := (one.evaluator.name, metric, dimension)) not in seen:
            seen.add(key)
            yield one, metric, dimension


def _metric(spec: FinetuneSpec, one: Measurement, metric: str, dimension: int) -> Metric:
    decides = metric in deciding_metrics(spec, one.evaluator.name)
    interval = one.interval(metric, dimension) if decides else None
    other = None if dimension == one.tuned.headline else dimension
    return Metric(
        name=metric_name(one.evaluator.name, spec.model.similarity_name, metric, dimension=other),
        baseline=decimal(one.base.by_dimension[dimension].mean(metric)) if one.base else None,
        tuned=decimal(one.tuned.by_dimension[dimension].mean(metric)),
        gain_low=decimal(interval.low) if interval else None,
        gain_high=decimal(interval.high) if interval else None,
    )


def _primary(spec: FinetuneSpec, measured: Sequence[Measurement]) -> PrimaryResult:
    primary = spec.evaluation.primary
    metric = spec.evaluation.metric(primary)
    one = next(m for m in measured if m.evaluator.name == primary.evaluator)
    base = one.base.scores.mean(metric) if one.base else None
    tuned = one.tuned.scores.mean(metric)
    interval = one.interval(metric, one.tuned.headline)
    counts = one.comparison(metric)
    return PrimaryResult(
        name=spec.evaluation.metric_name(primary, spec.model.similarity_name),
        dimension=one.tuned.headline,
        queries=len(one.data.queries),
        clusters=one.clusters,
        compared_to="Base" if one.base else "None",
        baseline=None if base is None else decimal(base),
        tuned=decimal(tuned),
        gain=None if base is None else decimal(tuned - base),
        gain_low=decimal(interval.low) if interval else None,
        gain_high=decimal(interval.high) if interval else None,
        wins=counts.wins if counts else None,
        ties=counts.ties if counts else None,
        losses=counts.losses if counts else None,
    )


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
