"""The full report: everything a run has found out, as JSON beside the model. No text or image of the data.

Queries and documents appear by id alone. The Report inside it is what a later attempt of this run repeats.
"""

import json
import math
from collections.abc import Sequence
from typing import Any

from finetune_api.report import Report
from finetune_trainer.evaluation import EvaluatorResult
from finetune_trainer.measurement import Measurement, deciding_metrics, wanted_metrics
from finetune_trainer.results import Results
from finetune_trainer.statistics import CONFIDENCE, DRAWS

VERSION = 1
EXAMPLES = 5
"""Queries shown from each end: those that gained most, and those that lost most."""

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
            "lossCurve": _curve(results.training.loss_curve),
            "selectionCurve": _curve(results.training.selection_curve),
        },
        "device": results.device,
        "seconds": {stage: round(seconds, 3) for stage, seconds in results.seconds.items()},
        "spec": run.spec.to_dict(),
    }


def to_bytes(full: Json) -> bytes:
    return (json.dumps(full, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode()


def _curve(points: Sequence[tuple[int, float]]) -> list[list[float | None]]:
    """[step, value] pairs; what is not a number is null, for JSON has no NaN."""
    return [[step, value if math.isfinite(value) else None] for step, value in points]


def _evaluator(results: Results, one: Measurement) -> Json:
    spec = results.run.spec
    metric = (*deciding_metrics(spec, one.evaluator.name), "ndcg@10")[0]
    return {
        "data": {
            "name": one.data.name,
            "digest": one.data.digest,
            "queries": len(one.data.queries),
            "documents": len(one.data.corpus),
            "unjudgedQueries": one.data.unjudged_queries,
            "clusters": one.clusters,
        },
        "similarity": spec.model.similarity_name,
        "dimension": one.tuned.headline,
        "dimensions": {str(n): _dimension(results, one, n) for n in one.tuned.by_dimension},
        "queries": _queries(one, metric),
        "examples": _examples(one, metric),
    }


def _dimension(results: Results, one: Measurement, dimension: int) -> Json:
    spec = results.run.spec
    deciding = deciding_metrics(spec, one.evaluator.name)
    table: Json = {}
    for metric in wanted_metrics(spec, one.evaluator.name):
        tuned = one.tuned.by_dimension[dimension].mean(metric)
        table[metric] = {"tuned": tuned}
        if one.base is not None:
            base = one.base.by_dimension[dimension].mean(metric)
            table[metric] |= {"baseline": base, "gain": tuned - base}
        if metric in deciding and (interval := one.interval(metric, dimension)) is not None:
            table[metric]["interval"] = {
                "low": interval.low,
                "high": interval.high,
                "confidence": CONFIDENCE,
                "method": interval.method,
                "draws": DRAWS,
                "clusters": interval.clusters,
            }
    return table


def _queries(one: Measurement, metric: str) -> Json:
    """One metric of every query, at the headline dimension, with the cluster that the interval drew it in."""
    comparison = one.comparison(metric)
    return {
        "metric": metric,
        "ids": list(one.data.queries.ids),
        "clusters": one.labels.tolist(),
        "baseline": one.base.scores.per_query[metric].tolist() if one.base else None,
        "tuned": one.tuned.scores.per_query[metric].tolist(),
        "wins": comparison.wins if comparison else None,
        "ties": comparison.ties if comparison else None,
        "losses": comparison.losses if comparison else None,
    }


def _examples(one: Measurement, metric: str) -> Json:
    """The queries that gained most and those that lost most, with the documents found, by id."""
    if one.base is None:
        return {"best": [], "worst": []}
    gains = one.tuned.scores.per_query[metric] - one.base.scores.per_query[metric]
    order = gains.argsort(kind="stable")
    best = [int(i) for i in order[::-1][:EXAMPLES] if gains[i] > 0]
    worst = [int(i) for i in order[:EXAMPLES] if gains[i] < 0]
    return {
        "best": [_example(one, one.base, i, metric) for i in best],
        "worst": [_example(one, one.base, i, metric) for i in worst],
    }


def _example(one: Measurement, base: EvaluatorResult, index: int, metric: str) -> Json:
    query = one.data.queries.ids[index]
    return {
        "query": query,
        "relevant": sorted(one.data.relevant[query]),
        "baseline": float(base.scores.per_query[metric][index]),
        "tuned": float(one.tuned.scores.per_query[metric][index]),
        "foundByBase": list(base.top_documents[query]),
        "foundByTuned": list(one.tuned.top_documents[query]),
    }
