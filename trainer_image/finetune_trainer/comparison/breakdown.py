"""Where a model gained and lost: the queries or rows at both ends, by id. No text or image of the data."""

from typing import Any

import numpy as np

from finetune_trainer.comparison.measurement import Measurement
from finetune_trainer.data.inputs import RetrievalData
from finetune_trainer.evaluation.measures import Floats, Labels
from finetune_trainer.evaluation.scores import EvaluatorResult, Ranking

EXAMPLES = 5
"""Shown of each kind."""

Json = dict[str, Any]


def build_examples(one: Measurement, metric: str) -> Json:
    """best: what gained most; worst: what lost most; worstBefore, worstAfter: lowest of baseline and tuned.

    Empty lists where no single unit has the metric; of rows, only when there is a baseline.
    """
    baseline, tuned = one.unit_values(metric)
    if tuned is None or one.baseline is None or baseline is None:
        return {"best": [], "worst": [], "worstBefore": [], "worstAfter": _lowest(one, metric, tuned)}
    gains = np.nan_to_num(tuned - baseline)
    order = gains.argsort(kind="stable")
    return {
        "best": [_example(one, metric, int(i)) for i in order[::-1][:EXAMPLES] if gains[i] > 0],
        "worst": [_example(one, metric, int(i)) for i in order[:EXAMPLES] if gains[i] < 0],
        "worstBefore": _lowest(one, metric, baseline),
        "worstAfter": _lowest(one, metric, tuned),
    }


def _lowest(one: Measurement, metric: str, values: Floats | None) -> list[Json]:
    """Those below the best value that there is, the lowest first."""
    if values is None:
        return []
    order: Labels = np.argsort(values, kind="stable")
    return [_example(one, metric, int(i)) for i in order[:EXAMPLES] if values[i] < np.nanmax(values)]


def _example(one: Measurement, metric: str, index: int) -> Json:
    baseline, tuned = one.unit_values(metric)
    numbers = {"tuned": _at(tuned, index), "baseline": _at(baseline, index)}
    if not isinstance(one.data, RetrievalData):
        return {"row": one.data.inputs[0].ids[index], **numbers}
    query = one.data.queries.ids[index]
    found: Json = {"query": query, "relevant": sorted(one.data.relevant[query]), **numbers}
    found |= _found("Tuned", one.tuned, query)
    return found | (_found("Base", one.baseline, query) if one.baseline else {})


def _found(model: str, result: EvaluatorResult, query: str) -> Json:
    """Documents found first, and the ranks of relevant ones, as far as they were found."""
    ranking: Ranking | None = result.ranking
    if ranking is None:
        return {}
    return {
        f"foundBy{model}": list(ranking.top_documents[query]),
        f"ranksBy{model}": ranking.ranks[query],
    }


def _at(values: Floats | None, index: int) -> float | None:
    return None if values is None or not np.isfinite(values[index]) else float(values[index])
