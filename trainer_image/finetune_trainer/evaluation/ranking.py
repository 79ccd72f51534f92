"""Rankings of a corpus: every query's search among all documents, or among those of its own data set.

Each input is encoded once, at the full dimension; smaller (Matryoshka) dimensions are slices of it, which is
what `truncate_dim` does for users of the model. Base and tuned model go through here with the same arguments.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from typing_extensions import override

from finetune_trainer.data.inputs import Collection, RetrievalData
from finetune_trainer.evaluation.encoding import Encoder, check_dimensions
from finetune_trainer.evaluation.measures import Flags, Labels, Mean
from finetune_trainer.evaluation.retrieval_metrics import EVERYTHING, compute_metrics, cut_off
from finetune_trainer.evaluation.scores import EvaluatorResult, Ranking, Scores
from finetune_trainer.evaluation.search import Best, id_ranks, search_chunk
from finetune_trainer.evaluation.sparsity import Sparsity

TOP_DOCUMENTS = 10
"""Documents kept for examples, for each query."""


@dataclass(frozen=True)
class Found:
    """Documents found by some queries, best first. queries: their places; documents: ids."""

    queries: Sequence[int]
    documents: list[list[str]]


def rank_corpus(
    encoder: Encoder,
    data: RetrievalData,
    evaluator: str,
    *,
    metrics: Sequence[str],
    dimensions: Sequence[int | None],
    strata: Labels | None = None,
) -> EvaluatorResult:
    """Search for every query and see where the relevant documents rank.

    dimensions: the headline first; strata: (queries,) data sets, each with its own corpus.
    Raises InvalidModel when embeddings are not finite, InvalidSpec for more dimensions than the model has.
    """
    depth = max(TOP_DOCUMENTS, *map(cut_off, metrics))
    sparsity = Sparsity()
    found: dict[int | None, list[Found]] = {n: [] for n in dimensions}
    for queries, documents in _parts(data, strata):
        corpus = part_of(data.corpus, documents)
        best = _search(
            encoder, part_of(data.queries, queries), corpus,
            dimensions=dimensions, depth=depth, sparsity=sparsity,
        )  # fmt: skip
        for n, one in best.items():
            found[n].append(Found(queries, [[corpus.ids[p] for p in row] for row in one.positions.tolist()]))
    in_order = {n: _in_order(data, parts) for n, parts in found.items()}
    scores = {
        n: Scores(
            evaluator, n, len(data.queries), _measures(data, documents, metrics, strata), sparsity.details
        )
        for n, documents in in_order.items()
    }
    return EvaluatorResult(scores, dimensions[0], ranking_of(data, in_order[dimensions[0]], depth))


def _parts(data: RetrievalData, strata: Labels | None) -> list[tuple[Sequence[int], Sequence[int]]]:
    """(queries, documents) that are searched together, by place."""
    if strata is None:
        return [(range(len(data.queries)), range(len(data.corpus)))]
    place = {document: p for p, document in enumerate(data.corpus.ids)}
    parts: list[tuple[Sequence[int], Sequence[int]]] = []
    for stratum in np.unique(strata):
        queries = np.flatnonzero(strata == stratum).tolist()
        documents = dict.fromkeys(
            place[d] for q in queries for d in (data.candidates or {})[data.queries.ids[q]]
        )
        parts.append((queries, tuple(documents)))
    return parts


def _search(
    encoder: Encoder,
    queries: Collection,
    corpus: Collection,
    *,
    dimensions: Sequence[int | None],
    depth: int,
    sparsity: Sparsity,
) -> dict[int | None, Best]:
    asked = encoder.whole(queries, "query")
    check_dimensions(dimensions, asked)
    sparsity.see("query", asked)
    ranks = id_ranks(corpus.ids)
    best: dict[int | None, Best] = {}
    for start, chunk in encoder.slices(corpus, "document"):
        sparsity.see("corpus", chunk)
        for n in dimensions:
            best[n] = search_chunk(
                asked.at(n), chunk.at(n), encoder.similarity,
                start=start, ranks=ranks, k=depth, before=best.get(n),
            )  # fmt: skip
    return best


def part_of(items: Collection, places: Sequence[int]) -> Collection:
    """These inputs, in this order."""
    if list(places) == list(range(len(items))):
        return items
    keys = tuple(items.keys[p] for p in places) if items.keys else ()
    return Collection(tuple(items.ids[p] for p in places), Picked(items.inputs, places), keys)


class Picked(Sequence[Any]):
    """Some elements of a sequence, looked at only when they are asked for."""

    def __init__(self, whole: Sequence[Any], places: Sequence[int]) -> None:
        self._whole, self._places = whole, places

    @override
    def __len__(self) -> int:
        return len(self._places)

    @override
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self._whole[p] for p in self._places[index]]
        return self._whole[self._places[index]]


def _in_order(data: RetrievalData, parts: Sequence[Found]) -> list[list[str]]:
    documents: list[list[str]] = [[] for _ in data.queries.ids]
    for part in parts:
        for place, found in zip(part.queries, part.documents, strict=True):
            documents[place] = found
    return documents


def _measures(
    data: RetrievalData, documents: list[list[str]], metrics: Sequence[str], strata: Labels | None
) -> dict[str, Mean]:
    relevant = np.array([len(data.relevant[q]) for q in data.queries.ids])
    values = compute_metrics(metrics, hits_of(data, documents), relevant)
    return {metric: Mean(of_queries, strata) for metric, of_queries in values.items()}


def hits_of(data: RetrievalData, documents: list[list[str]]) -> Flags:
    """(queries, ranks): whether the document there is relevant."""
    width = max(map(len, documents))
    hits = np.zeros((len(documents), width), dtype=np.bool_)
    for row, (query, found) in enumerate(zip(data.queries.ids, documents, strict=True)):
        hits[row, : len(found)] = [d in data.relevant[query] for d in found]
    return hits


def ranking_of(data: RetrievalData, documents: list[list[str]], depth: int) -> Ranking:
    rows = list(zip(data.queries.ids, documents, strict=True))
    return Ranking(
        {q: tuple(found[:TOP_DOCUMENTS]) for q, found in rows},
        {q: {d: r for r, d in enumerate(found, 1) if d in data.relevant[q]} for q, found in rows},
        min(depth, EVERYTHING),
    )
