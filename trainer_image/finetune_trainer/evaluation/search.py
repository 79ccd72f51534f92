"""Exact nearest-neighbour search in one order: best score first, equal scores by ascending document id.

The corpus comes in chunks; the result does not depend on how it was cut. The order is the library's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from finetune_trainer.evaluation.vectors import Vectors, all_scores

MAX_SCORES = 2**26
"""Scores held at a time (256 MiB): more queries than fit are searched in turns."""


@dataclass(frozen=True)
class Best:
    """The best documents of every query so far, best first.

    scores: (queries, found) float32; positions: (queries, found) index of the document in the corpus.
    """

    scores: Tensor
    positions: Tensor


def id_ranks(ids: Sequence[str]) -> Tensor:
    """Place of every id in their ascending order."""
    ranks = torch.empty(len(ids), dtype=torch.long)
    ranks[torch.tensor(sorted(range(len(ids)), key=ids.__getitem__))] = torch.arange(len(ids))
    return ranks


def search_chunk(
    queries: Vectors,
    documents: Vectors,
    similarity: str,
    *,
    start: int,
    ranks: Tensor,
    k: int,
    before: Best | None,
) -> Best:
    """The best k of what was found before and of one more chunk.

    start: position of the chunk in the corpus; ranks: (corpus,), place of every document in the order of ids.
    """
    rows = max(1, MAX_SCORES // len(documents))
    parts = []
    for first in range(0, len(queries), rows):
        scores = all_scores(queries.picked(slice(first, first + rows)), documents, similarity)
        values, places = _top(scores, ranks[start : start + len(documents)].to(scores.device), k)
        parts.append((values, places + start))
    found = Best(torch.cat([v for v, _ in parts]), torch.cat([p for _, p in parts]))
    if before is not None:
        found = Best(
            torch.cat([before.scores, found.scores], dim=1),
            torch.cat([before.positions, found.positions], dim=1),
        )
    return _sorted(found, ranks.to(found.scores.device), k)


def _top(scores: Tensor, ranks: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Values and places of the best k of a row, unsorted; of equals at the cut, those of lowest rank."""
    k = min(k, scores.shape[1])
    values, places = scores.topk(k, dim=1, sorted=False)
    lowest = values.amin(dim=1, keepdim=True)
    cut = (scores >= lowest).sum(dim=1) > k
    if cut.any():
        tied, bound = scores[cut], lowest[cut]
        beyond = int(ranks.max()) + 1
        # One whole number orders all: everything above the bound, then equals by rank, then the rest.
        keys = torch.where(tied > bound, ranks, torch.where(tied == bound, ranks + beyond, 2 * beyond))
        places[cut] = keys.topk(k, dim=1, largest=False).indices
        values[cut] = tied.gather(1, places[cut])
    return values, places


def _sorted(found: Best, ranks: Tensor, k: int) -> Best:
    by_rank = ranks[found.positions].argsort(dim=1)
    scores, positions = found.scores.gather(1, by_rank), found.positions.gather(1, by_rank)
    by_score = scores.argsort(dim=1, descending=True, stable=True)[:, :k]
    return Best(scores.gather(1, by_score), positions.gather(1, by_score))
