"""Hard negatives, the numbers of it: candidates of every query by score, and which of them become negatives.

Queries and documents are numbers here. Nothing is read, and nothing is known of what they hold.
The rules are those of the library's `mine_hard_negatives`, for anything that a model can encode.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from finetune_api.hard_negatives import HardNegatives

_TIMES_AS_MANY = 10
"""Candidates for each negative where scores may rule some out, as in the library."""

Whole = NDArray[np.int64]
Real = NDArray[np.float64]
Blocks = Iterable[tuple[int, Any]]
"""(number of the first, embeddings of it and the following), in order."""
Similarity = Callable[[Any, Any], Tensor]
"""(queries, documents) scores of two blocks of embeddings; higher is nearer."""


@dataclass(frozen=True)
class Pairs:
    """Which document answers which query, by document. queries, documents: (pairs,)."""

    queries: Whole
    documents: Whole

    @classmethod
    def of(cls, pairs: Iterable[tuple[int, int]]) -> "Pairs":
        """Of (query, document), each once."""
        array = np.array(sorted(set(pairs), key=lambda pair: pair[::-1]), dtype=np.int64).reshape(-1, 2)
        return cls(array[:, 0], array[:, 1])

    def within(self, documents: range, queries: range) -> Whole:
        """Places of the pairs of which both lie there."""
        low, high = np.searchsorted(self.documents, (documents.start, documents.stop))
        inside = self.queries[low:high]
        places: Whole = low + np.flatnonzero((inside >= queries.start) & (inside < queries.stop))
        return places


@dataclass(frozen=True)
class Candidates:
    """What the search found.

    scores: (queries, depth) best first, -inf where there are fewer; documents: (queries, depth) numbers;
    answers: (pairs,) scores of the documents that answer, in the order of `pairs`.
    """

    scores: Real
    documents: Whole
    pairs: Pairs
    answers: Real


def depth_of(settings: HardNegatives) -> int:
    """Candidates to look for, for each query."""
    if settings.search_depth is not None:
        return settings.search_depth
    return settings.skip_top + (_TIMES_AS_MANY if settings.has_limits else 1) * settings.per_query


@dataclass(frozen=True)
class Exclusions:
    """What is no candidate. answers, known: by query; barred: (documents,) of every query, ascending."""

    answers: Pairs
    known: Pairs
    barred: Whole


def find_candidates(
    queries: Sequence[Any], documents: Blocks, similarity: Similarity, *, without: Exclusions, depth: int
) -> Candidates:
    """Search every document for every query. queries: blocks of embeddings, in order."""
    best = [_nothing(len(block), depth) for block in queries]
    answers = np.full(len(without.answers.queries), np.nan)
    for start, embeddings in documents:
        first = 0
        for n, block in enumerate(queries):
            # On the CPU, where equal scores come in the same order each time.
            scores = similarity(block, embeddings).float().cpu()
            _exclude(scores, without, answers, first=first, start=start)
            best[n] = _best(best[n], scores, start)
            first += len(scores)
    found, numbers = (torch.cat(parts).numpy() for parts in zip(*best, strict=True))
    return Candidates(found.astype(np.float64), numbers, without.answers, answers)


def _exclude(scores: Tensor, without: Exclusions, answers: Real, *, first: int, start: int) -> None:
    """Move the scores of answers from a block's scores to `answers`, and drop those of other exclusions."""
    rows, columns = range(first, first + len(scores)), range(start, start + scores.shape[1])
    places = without.answers.within(columns, rows)
    cells = without.answers.queries[places] - first, without.answers.documents[places] - start
    answers[places] = scores[cells].double()
    scores[cells] = -torch.inf
    places = without.known.within(columns, rows)
    scores[without.known.queries[places] - first, without.known.documents[places] - start] = -torch.inf
    low, high = np.searchsorted(without.barred, (columns.start, columns.stop))
    scores[:, without.barred[low:high] - start] = -torch.inf


def _nothing(queries: int, depth: int) -> tuple[Tensor, Tensor]:
    return torch.full((queries, depth), -torch.inf), torch.zeros((queries, depth), dtype=torch.int64)


def _best(found: tuple[Tensor, Tensor], scores: Tensor, start: int) -> tuple[Tensor, Tensor]:
    """The best of what was found and of one more block."""
    depth = found[0].shape[1]
    scores, places = scores.topk(min(depth, scores.shape[1]), dim=1)
    scores, numbers = torch.cat([found[0], scores], dim=1), torch.cat([found[1], places + start], dim=1)
    order = scores.argsort(dim=1, descending=True, stable=True)[:, :depth]
    return scores.gather(1, order), numbers.gather(1, order)


def rescored(candidates: Candidates, score: Callable[[int, Sequence[int]], Sequence[float]]) -> Candidates:
    """Candidates and answers with other scores. score: (query, documents) -> a score for each."""
    scores, answers = candidates.scores.copy(), candidates.answers.copy()
    by_query = np.argsort(candidates.pairs.queries, kind="stable")
    ends = np.searchsorted(candidates.pairs.queries[by_query], np.arange(len(scores) + 1))
    for query in range(len(scores)):
        found = np.flatnonzero(np.isfinite(scores[query]))
        pairs = by_query[ends[query] : ends[query + 1]]
        documents = [*candidates.documents[query, found], *candidates.pairs.documents[pairs]]
        values = np.asarray(score(query, [int(d) for d in documents]), dtype=np.float64)
        scores[query, found], answers[pairs] = values[: len(found)], values[len(found) :]
    return replace(candidates, scores=scores, answers=answers)


def choose(candidates: Candidates, settings: HardNegatives, *, seed: int) -> list[list[int]]:
    """Negatives of every query, best first; fewer than `perQuery` where there are not enough."""
    scores = np.where(_ruled_out(candidates, settings), -np.inf, candidates.scores)
    order = np.argsort(-scores, axis=1, kind="stable")
    random = np.random.default_rng(seed).random(scores.shape)
    chosen = []
    for query, ranked in enumerate(order):
        left = ranked[np.isfinite(scores[query, ranked])][settings.skip_top :]
        if settings.sampling == "Random":
            drawn = np.argsort(random[query, : len(left)])[: settings.per_query]
            left = left[np.sort(drawn)]
        chosen.append(candidates.documents[query, left[: settings.per_query]].tolist())
    return chosen


def _ruled_out(candidates: Candidates, settings: HardNegatives) -> NDArray[np.bool_]:
    """(queries, depth). Of several answers the one with the lowest score sets the margin."""
    scores = candidates.scores
    lowest = np.full((len(scores), 1), np.finfo(np.float64).max)
    np.minimum.at(lowest[:, 0], candidates.pairs.queries, candidates.answers)
    out = np.zeros(scores.shape, dtype=np.bool_)
    if settings.absolute_margin is not None:
        out |= scores + float(settings.absolute_margin) > lowest
    if settings.relative_margin is not None:
        out |= scores > lowest - np.abs(lowest) * float(settings.relative_margin)
    if settings.max_score is not None:
        out |= scores > float(settings.max_score)
    if settings.min_score is not None:
        out |= scores < float(settings.min_score)
    return out
