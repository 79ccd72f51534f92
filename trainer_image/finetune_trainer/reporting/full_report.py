"""The full report: everything a run has found out, as JSON beside the model. No text or image of the data.

Queries and documents appear by id alone. The Report inside it is what a later attempt of this run repeats.
"""

import json
import math
from collections.abc import Sequence
from typing import Any

from finetune_api.evaluator_types import named_similarity
from finetune_api.report import Report
from finetune_api.spec import FinetuneSpec
from finetune_trainer.comparison.breakdown import build_examples
from finetune_trainer.comparison.measurement import Measurement, deciding_metrics, shown_metrics
from finetune_trainer.comparison.statistics import CONFIDENCE
from finetune_trainer.data.inputs import RetrievalData
from finetune_trainer.reporting.results import Results

VERSION = 1
Json = dict[str, Any]


def build_full_report(results: Results, report: Report) -> Json:
    """The whole of it, ready for `to_bytes`."""
    run, sources = results.run, results.sources
    return {
        "version": VERSION,
        "namespace": run.namespace,
        "name": run.name,
        "uid": run.uid,
        "run": run.run,
        "specHash": run.spec_hash,
        "finished": results.finished,
        "report": report.to_dict(),
        "notes": results.notes,
        "evaluators": {m.evaluator.name: _evaluator(results, m) for m in results.measured},
        "training": {
            "rows": sources.train_rows,
            "droppedRows": sources.dropped_rows,
            "steps": results.training.steps,
            "bestStep": results.training.best_step,
            "miniBatchSize": results.training.mini_batch_size,
            "resumedAt": list(results.training.resumed_at),
            "deviations": list(results.training.deviations),
            "lossCurve": _curve(results.training.loss_curve),
            "selectionCurve": _curve(results.training.selection_curve),
        },
        "device": results.device,
        "seconds": {stage: round(seconds, 3) for stage, seconds in results.seconds.items()},
        "spec": _spec(run.spec),
    }


def _spec(spec: FinetuneSpec) -> Json:
    """Without `runtime.pod`: variables and volumes of the cluster are nothing for whoever reads a model."""
    content = spec.to_dict()
    return {**content, "runtime": {k: v for k, v in content["runtime"].items() if k != "pod"}}


def to_bytes(full: Json) -> bytes:
    return (json.dumps(full, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode()


def _curve(points: Sequence[tuple[int, float]]) -> list[list[float | None]]:
    """[step, value] pairs; what is not a number is null, for JSON has no NaN."""
    return [[step, value if math.isfinite(value) else None] for step, value in points]


def _evaluator(results: Results, one: Measurement) -> Json:
    spec = results.run.spec
    metric = _leading_metric(results, one)
    return {
        "type": one.evaluator.type,
        "unit": one.unit_name,
        "data": _data(one),
        "similarity": named_similarity(one.evaluator.type, spec.model.similarity_name),
        "comparedTo": one.compared_to,
        "metric": metric,
        "dimension": one.tuned.headline,
        "dimensions": {_key(n): _dimension(results, one, n) for n in one.tuned.by_dimension},
        "groups": {group: _group(results, one, group) for group in one.groups},
        "details": _details(one),
        one.unit_name: _units(one, metric),
        "examples": build_examples(one, metric),
    }


def _leading_metric(results: Results, one: Measurement) -> str:
    """What is shown first of an evaluator: the headline, what else decides, or what it is known for."""
    spec, name = results.run.spec, one.evaluator.name
    primary = spec.evaluation.primary
    first: tuple[str, ...] = (spec.evaluation.metric(primary),) if primary.evaluator == name else ()
    shown = shown_metrics(spec, one)
    wanted = (*first, *deciding_metrics(spec, name), spec.evaluation.headline(name), *shown)
    found: str = next(metric for metric in wanted if metric in shown)
    return found


def _data(one: Measurement) -> Json:
    found: Json = {"name": one.data.name, "digest": one.data.digest, one.unit_name: one.units}
    if isinstance(one.data, RetrievalData):
        found |= {"documents": len(one.data.corpus), "unjudgedQueries": one.data.unjudged_queries}
    return found | {"clusters": one.clusters}


def _key(dimension: int | None) -> str:
    """JSON has texts for keys; "" for a model whose output has no dimension to choose."""
    return "" if dimension is None else str(dimension)


def _details(one: Measurement) -> Json:
    """What is no quality: thresholds, and how sparse embeddings are."""
    models = {"base": one.base, "published": one.published, "tuned": one.tuned}
    return {name: dict(r.scores.details) for name, r in models.items() if r and r.scores.details}


def _dimension(results: Results, one: Measurement, dimension: int | None) -> Json:
    spec = results.run.spec
    deciding = deciding_metrics(spec, one.evaluator.name)
    return {
        metric: _numbers(one, metric, dimension, None, decides=metric in deciding)
        for metric in shown_metrics(spec, one)
    }


def _group(results: Results, one: Measurement, group: str) -> Json:
    """Each group at the headline dimension."""
    spec = results.run.spec
    deciding = deciding_metrics(spec, one.evaluator.name) or shown_metrics(spec, one)[:1]
    metrics = {m: _numbers(one, m, one.tuned.headline, group, decides=True) for m in deciding}
    units = {one.unit_name: len(one.groups[group]), "clusters": one.clusters_of(group)}
    return {**units, "metrics": metrics}


def _numbers(
    one: Measurement, metric: str, dimension: int | None, group: str | None, *, decides: bool
) -> Json:
    tuned = one.value(one.tuned, metric, dimension, group)
    table: Json = {"tuned": _number(tuned)}
    if (baseline := one.baseline_value(metric, dimension, group)) is not None:
        table |= {"baseline": _number(baseline), "gain": _number(tuned - baseline)}
    if one.published is not None and one.base is not None and dimension in one.base.by_dimension:
        table["base"] = _number(one.value(one.base, metric, dimension, group))
    if decides and (interval := one.interval(metric, dimension, group)) is not None:
        table["interval"] = {
            "low": interval.low,
            "high": interval.high,
            "confidence": CONFIDENCE,
            "method": interval.method,
            "draws": interval.draws,
            "clusters": interval.clusters,
        }
    return table


def _units(one: Measurement, metric: str) -> Json:
    """One metric of every unit, at the headline dimension, with the cluster that the interval drew it in.

    null where no single unit has the metric.
    """
    comparison = one.comparison(metric)
    baseline, tuned = one.unit_values(metric)
    return {
        "metric": metric,
        "ids": _ids(one),
        "clusters": one.labels.tolist(),
        "baseline": None if baseline is None else [_number(v) for v in baseline.tolist()],
        "tuned": None if tuned is None else [_number(v) for v in tuned.tolist()],
        "wins": comparison.wins if comparison else None,
        "ties": comparison.ties if comparison else None,
        "losses": comparison.losses if comparison else None,
    }


def _ids(one: Measurement) -> list[str]:
    if isinstance(one.data, RetrievalData):
        return list(one.data.queries.ids)
    ids = one.data.inputs[0].ids
    return list(ids) if len(ids) == one.units else [str(n) for n in range(one.units)]


def _number(value: float) -> float | None:
    """JSON has no NaN."""
    return value if math.isfinite(value) else None
