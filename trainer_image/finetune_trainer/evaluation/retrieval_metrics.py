"""Retrieval metrics of every query, from where its relevant documents rank.

Binary relevance, as in Manning, Raghavan, Schuetze, "Introduction to Information Retrieval", chapter 8;
the same values as the library's InformationRetrievalEvaluator. Nothing here searches.
"""

from collections.abc import Callable, Iterable

import numpy as np

from finetune_trainer.evaluation.measures import Flags, Floats
from finetune_trainer.evaluation.measures import Labels as Counts

STANDARD_METRICS = (
    *(f"accuracy@{k}" for k in (1, 3, 5, 10)),
    *(f"precision@{k}" for k in (1, 3, 5, 10)),
    *(f"recall@{k}" for k in (1, 3, 5, 10)),
    "ndcg@10",
    "mrr@10",
    "map@100",
)
"""What the full report has of every evaluator, asked for or not."""


EVERYTHING = 2**31
"""The cut-off of `map` without one: all that is ranked."""


def cut_off(metric: str) -> int:
    """The k of `<metric>@<k>`."""
    return int(metric.rpartition("@")[2]) if "@" in metric else EVERYTHING


def compute_metrics(metrics: Iterable[str], hits: Flags, relevant: Counts) -> dict[str, Floats]:
    """Values of each metric, (queries,) in [0, 1].

    hits: (queries, ranks), whether the document at that rank is relevant, best rank first; ranks that a small
    corpus does not fill may be missing. relevant: (queries,), relevant documents in the corpus, at least 1.
    """
    return {m: _METRICS[m.partition("@")[0]](hits[:, : cut_off(m)], relevant, cut_off(m)) for m in metrics}


def _accuracy(hits: Flags, _: Counts, __: int) -> Floats:
    return np.asarray(hits.any(axis=1), dtype=np.float64)


def _precision(hits: Flags, _: Counts, k: int) -> Floats:
    return np.divide(_sums(hits), k)


def _recall(hits: Flags, relevant: Counts, _: int) -> Floats:
    return np.divide(_sums(hits), relevant)


def _sums(values: Flags | Floats) -> Floats:
    return np.asarray(values.sum(axis=1), dtype=np.float64)


def _ndcg(hits: Flags, relevant: Counts, k: int) -> Floats:
    discounts = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discounts)[np.minimum(relevant, k) - 1]
    gained: Floats = (hits @ discounts[: hits.shape[1]]) / ideal
    return gained


def _mrr(hits: Flags, _: Counts, __: int) -> Floats:
    return np.where(hits.any(axis=1), 1 / (hits.argmax(axis=1) + 1), 0.0)


def _map(hits: Flags, relevant: Counts, k: int) -> Floats:
    ranks = np.arange(1, hits.shape[1] + 1)
    precision_at_hits = np.where(hits, np.cumsum(hits, axis=1) / ranks, 0.0)
    return _sums(precision_at_hits) / np.minimum(relevant, k)


_METRICS: dict[str, Callable[[Flags, Counts, int], Floats]] = {
    "accuracy": _accuracy,
    "precision": _precision,
    "recall": _recall,
    "ndcg": _ndcg,
    "mrr": _mrr,
    "map": _map,
}
