import math

import numpy as np
import pytest

from finetune_trainer.evaluation.retrieval_metrics import STANDARD_METRICS, compute_metrics

HITS = np.array(
    [
        [False, True, False, True],  # two of three found, at ranks 2 and 4
        [True, False, False, False],  # the only one, at rank 1
        [False, False, False, False],  # none of two
    ]
)
RELEVANT = np.array([3, 1, 2])
DISCOUNT_2, DISCOUNT_3, DISCOUNT_4 = (1 / math.log2(rank + 1) for rank in (2, 3, 4))


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("accuracy@1", [0, 1, 0]),
        ("accuracy@3", [1, 1, 0]),
        ("precision@1", [0, 1, 0]),
        ("precision@4", [2 / 4, 1 / 4, 0]),
        ("recall@3", [1 / 3, 1, 0]),
        ("recall@4", [2 / 3, 1, 0]),
        ("mrr@10", [1 / 2, 1, 0]),
        ("mrr@1", [0, 1, 0]),
        ("map@4", [(1 / 2 + 2 / 4) / 3, 1, 0]),
        ("map@2", [(1 / 2) / 2, 1, 0]),
        ("ndcg@4", [(DISCOUNT_2 + DISCOUNT_4) / (1 + DISCOUNT_2 + DISCOUNT_3), 1, 0]),
        ("ndcg@2", [DISCOUNT_2 / (1 + DISCOUNT_2), 1, 0]),
    ],
)
def test_a_metric_has_the_value_worked_out_by_hand(metric: str, expected: list[float]) -> None:
    assert compute_metrics([metric], HITS, RELEVANT)[metric] == pytest.approx(expected, abs=1e-12)


def test_a_corpus_smaller_than_the_cut_off_still_divides_precision_by_it() -> None:
    values = compute_metrics(["precision@10", "ndcg@10"], np.array([[True]]), np.array([1]))
    assert values["precision@10"] == pytest.approx([0.1])
    assert values["ndcg@10"] == pytest.approx([1.0])


def test_every_standard_metric_is_known() -> None:
    values = compute_metrics(STANDARD_METRICS, HITS, RELEVANT)
    assert set(values) == set(STANDARD_METRICS)
    assert all(v.shape == (3,) for v in values.values())
