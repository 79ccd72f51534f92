"""Which candidates become negatives, by numbers alone."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch

from finetune_api.hard_negatives import HardNegatives
from finetune_trainer.mining.search import (
    Candidates,
    Exclusions,
    Pairs,
    choose,
    depth_of,
    find_candidates,
    rescored,
)

NONE = Pairs.of([])
SCORES = torch.tensor([[0.9, 0.8, 0.7, 0.6, 0.5], [0.1, 0.2, 0.3, 0.4, 0.5]])
"""Of two queries and five documents."""


def settings(**fields: Any) -> HardNegatives:
    return HardNegatives.model_validate({"perQuery": 2, **fields})


def search(
    answers: Iterable[tuple[int, int]] = ((0, 1), (1, 4)),
    *,
    known: Iterable[tuple[int, int]] = (),
    barred: Iterable[int] = (),
    depth: int = 3,
    cut: int = 2,
) -> Candidates:
    """Over SCORES, documents in blocks of `cut`, one query a block."""
    blocks = [(start, torch.arange(start, min(start + cut, 5))) for start in range(0, 5, cut)]
    without = Exclusions(Pairs.of(answers), Pairs.of(known), np.array(sorted(barred), dtype=np.int64))
    return find_candidates(
        [torch.tensor([0]), torch.tensor([1])],
        blocks,
        lambda queries, documents: SCORES[queries][:, documents],
        without=without,
        depth=depth,
    )


@pytest.mark.parametrize("cut", [1, 2, 3, 5])
def test_the_best_documents_that_do_not_answer_are_candidates(cut: int) -> None:
    found = search(cut=cut)
    assert found.documents.tolist() == [[0, 2, 3], [3, 2, 1]]
    assert found.scores[0].tolist() == pytest.approx([0.9, 0.7, 0.6])
    assert found.answers.tolist() == pytest.approx([0.8, 0.5])


def test_every_answer_of_a_query_is_left_out_and_known_and_barred_documents_too() -> None:
    assert search([(0, 0), (0, 2), (1, 4)]).documents[0].tolist() == [1, 3, 4]
    assert search(known=[(0, 0)]).documents.tolist() == [[2, 3, 4], [3, 2, 1]]
    assert search(barred=[0, 3], depth=2).documents.tolist() == [[2, 4], [2, 1]]


def test_a_barred_document_still_gives_the_score_of_an_answer() -> None:
    assert search(barred=[1, 4]).answers.tolist() == pytest.approx([0.8, 0.5])


def test_a_query_with_fewer_candidates_gets_fewer_negatives() -> None:
    found = search(barred=[0, 1, 2], depth=5)
    assert choose(found, settings(), seed=0) == [[3, 4], [3]]


def test_margins_and_scores_rule_candidates_out() -> None:
    found = search(depth=4)
    assert choose(found, settings(), seed=0) == [[0, 2], [3, 2]]
    assert choose(found, settings(absoluteMargin="0.15"), seed=0) == [[3, 4], [2, 1]]
    assert choose(found, settings(relativeMargin="0.3"), seed=0) == [[4], [2, 1]]
    assert choose(found, settings(maxScore="0.65"), seed=0) == [[3, 4], [3, 2]]
    assert choose(found, settings(minScore="0.35"), seed=0) == [[0, 2], [3]]


def test_the_answer_with_the_lowest_score_sets_the_margin() -> None:
    found = search([(0, 0), (0, 3), (1, 4)], depth=4)
    assert choose(found, settings(absoluteMargin="0"), seed=0)[0] == [4]


def test_a_margin_below_a_negative_score_lies_further_below() -> None:
    found = Candidates(np.array([[-0.98, -1.2]]), np.array([[1, 2]]), Pairs.of([(0, 0)]), np.array([-1.0]))
    assert choose(found, settings(perQuery=1, relativeMargin="0.05"), seed=0) == [[2]]


def test_the_top_is_skipped_among_those_that_are_left() -> None:
    found = search(depth=4)
    assert choose(found, settings(skipTop=1), seed=0) == [[2, 3], [2, 1]]
    assert choose(found, settings(skipTop=1, maxScore="0.65"), seed=0) == [[4], [2, 1]]


def test_a_random_choice_repeats_with_its_seed_and_comes_from_the_candidates() -> None:
    found = search(depth=4)
    draws = [choose(found, settings(sampling="Random"), seed=seed) for seed in range(20)]
    assert choose(found, settings(sampling="Random"), seed=3) == draws[3]
    assert len({tuple(draw[0]) for draw in draws}) > 3
    for draw in draws:
        assert len(set(draw[0])) == 2
        assert draw[0] == sorted(draw[0])
        assert set(draw[0]) <= {0, 2, 3, 4}


def test_other_scores_decide_where_a_reranker_is_asked() -> None:
    found = rescored(search(depth=4), lambda _, documents: [float(d) for d in documents])
    assert found.answers.tolist() == [1.0, 4.0]
    assert choose(found, settings(maxScore="3.5"), seed=0) == [[3, 2], [3, 2]]


def test_scores_that_may_rule_out_ask_for_more_candidates() -> None:
    assert depth_of(settings(skipTop=5)) == 7
    assert depth_of(settings(skipTop=5, maxScore="0.9")) == 25
    assert depth_of(settings(skipTop=5, maxScore="0.9", searchDepth=9)) == 9
