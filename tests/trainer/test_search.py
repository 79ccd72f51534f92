import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from finetune_trainer.evaluation import search
from finetune_trainer.evaluation.search import Best, search_chunk
from finetune_trainer.evaluation.vectors import Vectors


def searched(queries: torch.Tensor, documents: torch.Tensor, ranks: torch.Tensor, k: int, chunk: int) -> Best:
    best: Best | None = None
    for start in range(0, len(documents), chunk):
        best = search_chunk(
            Vectors(queries), Vectors(documents[start : start + chunk]), "dot",
            start=start, ranks=ranks, k=k, before=best,
        )  # fmt: skip
    assert best is not None
    return best


@given(
    values=st.lists(st.lists(st.integers(-2, 2), min_size=2, max_size=2), min_size=1, max_size=20),
    k=st.integers(1, 25),
    chunk=st.integers(1, 25),
    shuffle=st.randoms(use_true_random=False),
)
def test_the_order_is_score_then_id_however_the_corpus_is_cut(
    values: list[list[int]], k: int, chunk: int, shuffle: random.Random
) -> None:
    documents = torch.tensor(values, dtype=torch.float32)
    queries = torch.tensor([[1.0, 0.0], [1.0, -1.0], [0.0, 0.0]])
    order = list(range(len(values)))
    shuffle.shuffle(order)
    best = searched(queries, documents, torch.tensor(order), k, chunk)
    for query, positions, scores in zip(queries, best.positions.tolist(), best.scores.tolist(), strict=True):
        all_scores = (documents @ query).tolist()
        expected = sorted(range(len(values)), key=lambda p: (-all_scores[p], order[p]))[:k]
        assert positions == expected
        assert scores == [all_scores[p] for p in expected]


def test_more_queries_than_fit_are_searched_in_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    queries, documents = torch.randn(7, 3, generator=generator), torch.randn(5, 3, generator=generator)
    ranks = torch.arange(5)
    whole = searched(queries, documents, ranks, 3, 5)
    monkeypatch.setattr(search, "MAX_SCORES", 10)
    in_turns = searched(queries, documents, ranks, 3, 5)
    assert torch.equal(whole.positions, in_turns.positions)
