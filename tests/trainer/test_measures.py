"""Each metric equals scikit-learn's, scipy's or the library's, also of a table with rows repeated."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from sentence_transformers.sentence_transformer.evaluation import BinaryClassificationEvaluator
from sklearn.metrics import average_precision_score, f1_score, matthews_corrcoef

from finetune_trainer.evaluation.measures import (
    Classes,
    Correlation,
    Decisions,
    Divergence,
    Floats,
    Labels,
    Mean,
    Measure,
    value_of,
)
from finetune_trainer.evaluation.paraphrases import MinedPairs

RANDOM = np.random.default_rng(3)
ROWS = 60
SCORES = RANDOM.normal(size=ROWS).round(1)  # some are equal
GRADES = (SCORES + RANDOM.normal(size=ROWS)).round(0)
TOGETHER = (SCORES + RANDOM.normal(size=ROWS) > 0.3).astype(np.float64)
CHOSEN, CLASS = RANDOM.integers(4, size=ROWS), RANDOM.integers(4, size=ROWS)
COUNTS = RANDOM.integers(4, size=(5, ROWS)).astype(np.float64)


def best_f1(scores: Floats, labels: Floats) -> tuple[float, float, float, float]:
    found: Any = BinaryClassificationEvaluator.find_best_f1_and_threshold(scores, labels, True)
    return tuple(map(float, found))  # type: ignore[return-value]


def mcc(scores: Floats, labels: Floats) -> float:
    return float(matthews_corrcoef(labels, scores >= best_f1(scores, labels)[3]))


def accuracy(scores: Floats, labels: Floats) -> float:
    return float(BinaryClassificationEvaluator.find_best_acc_and_threshold(scores, labels, True)[0])


def divergence(teacher: Floats, student: Floats) -> float:
    t, s = (torch.log_softmax(torch.tensor(v) / 2, dim=-1) for v in (teacher, student))
    return -4 * float(torch.nn.functional.kl_div(s, t, reduction="sum", log_target=True))


def averaged_f1(kind: str) -> Callable[[Labels, Labels], float]:
    return lambda chosen, labels: float(f1_score(labels, chosen, average=kind))


CASES: dict[str, tuple[Measure, Callable[..., float], Any, Any]] = {
    "mean": (Mean(SCORES), lambda values, _: float(values.mean()), SCORES, SCORES),
    "spearman": (
        Correlation(SCORES, GRADES, of_ranks=True),
        lambda a, b: float(scipy.stats.spearmanr(a, b)[0]),
        SCORES,
        GRADES,
    ),
    "pearson": (
        Correlation(SCORES, GRADES, of_ranks=False),
        lambda a, b: float(scipy.stats.pearsonr(a, b)[0]),
        SCORES,
        GRADES,
    ),
    "ap": (
        Decisions(SCORES, TOGETHER, "ap"),
        lambda s, y: float(average_precision_score(y, s)),
        SCORES,
        TOGETHER,
    ),
    "f1": (Decisions(SCORES, TOGETHER, "f1"), lambda s, y: best_f1(s, y)[0], SCORES, TOGETHER),
    "precision": (Decisions(SCORES, TOGETHER, "precision"), lambda s, y: best_f1(s, y)[1], SCORES, TOGETHER),
    "recall": (Decisions(SCORES, TOGETHER, "recall"), lambda s, y: best_f1(s, y)[2], SCORES, TOGETHER),
    "accuracy": (Decisions(SCORES, TOGETHER, "accuracy"), accuracy, SCORES, TOGETHER),
    "mcc": (Decisions(SCORES, TOGETHER, "mcc"), mcc, SCORES, TOGETHER),
    "f1_macro": (Classes(CHOSEN, CLASS, "f1_macro"), averaged_f1("macro"), CHOSEN, CLASS),
    "f1_micro": (Classes(CHOSEN, CLASS, "f1_micro"), averaged_f1("micro"), CHOSEN, CLASS),
    "f1_weighted": (Classes(CHOSEN, CLASS, "f1_weighted"), averaged_f1("weighted"), CHOSEN, CLASS),
    "divergence": (Divergence(SCORES / 2, GRADES / 2, 4.0), divergence, SCORES, GRADES),
}


@pytest.mark.parametrize("name", CASES)
def test_the_metric_is_that_of_the_table_as_it_is(name: str) -> None:
    measure, reference, one, other = CASES[name]
    assert value_of(measure, ROWS) == pytest.approx(reference(one, other), abs=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_a_row_counted_twice_is_a_row_that_stands_there_twice(name: str) -> None:
    measure, reference, one, other = CASES[name]
    rows = [np.repeat(np.arange(ROWS), counts.astype(int)) for counts in COUNTS]
    assert measure(COUNTS) == pytest.approx([reference(one[r], other[r]) for r in rows], abs=1e-9)


@pytest.mark.parametrize("name", CASES)
def test_a_part_is_the_metric_of_its_rows(name: str) -> None:
    measure, reference, one, other = CASES[name]
    rows = np.arange(ROWS)[::2]
    assert value_of(measure.picked(rows), 30) == pytest.approx(reference(one[rows], other[rows]), abs=1e-9)


def test_a_query_that_does_not_count_is_left_out_of_the_mean() -> None:
    assert value_of(Mean(np.array([0.0, np.nan, 1.0])), 3) == 0.5


def test_the_mean_over_data_sets_weighs_each_the_same() -> None:
    of_sets = Mean(np.array([1.0, 0.0, 0.0, 0.0]), strata=np.array([0, 1, 1, 1]))
    assert value_of(of_sets, 4) == 0.5


def test_constant_predictions_correlate_with_nothing_and_constant_labels_are_undefined() -> None:
    constant = np.zeros(ROWS)
    for of_ranks in (True, False):
        assert value_of(Correlation(constant, GRADES, of_ranks), ROWS) == 0
        assert np.isnan(value_of(Correlation(SCORES, constant, of_ranks), ROWS))


def test_paraphrases_count_as_often_as_their_texts_are_drawn() -> None:
    """Texts 0 and 1 are paraphrases, 2 is a stranger; the pairs found are (0, 2) and then (0, 1)."""
    pairs = {
        "first": np.array([0, 0]), "second": np.array([2, 1]), "scores": np.array([0.9, 0.8]),
        "right": np.array([False, True]), "wanted": np.array([0]), "families": np.array([0, 0, 1]),
    }  # fmt: skip
    ap = MinedPairs(**pairs, metric="average_precision")
    # As it is: one of two. The stranger drawn three times: one of four. The family twice: 2 of 2 + 2.
    weights = np.array([[1.0, 1.0, 1.0], [1.0, 1.0, 3.0], [2.0, 2.0, 1.0], [1.0, 1.0, 0.0]])
    assert ap(weights).tolist() == [0.5, 0.25, 0.5, 1.0]
    assert MinedPairs(**pairs, metric="f1")(weights[:1]).tolist() == [pytest.approx(2 / 3)]
    assert MinedPairs(**pairs, metric="recall")(weights[:1]).tolist() == [1.0]
    assert MinedPairs(**pairs, metric="precision")(weights[:1]).tolist() == [0.5]
