"""Results of the base model that one attempt writes and another one reads: equal in everything."""

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch

from finetune_trainer.checkpoints.trees import flatten, rebuild
from finetune_trainer.comparison.kept import _from_tree, _to_tree
from finetune_trainer.evaluation import EvaluatorResult, Scores
from finetune_trainer.evaluation.measures import Classes, Correlation, Decisions, Divergence, Mean, Measure
from finetune_trainer.evaluation.paraphrases import MinedPairs
from tests.trainer.results_builder import a_gated_spec, scores

HALVES, NUMBERS = np.array([0.5, np.nan, 1 / 3]), np.array([0, 2, 1])


def assert_equal(found: Any, wanted: Any) -> None:
    assert type(found) is type(wanted)
    if isinstance(wanted, np.ndarray):
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)
    elif isinstance(wanted, dict):
        assert list(found) == list(wanted)
        for key in wanted:
            assert_equal(found[key], wanted[key])
    elif hasattr(wanted, "__dataclass_fields__"):
        for field in fields(wanted):
            assert_equal(getattr(found, field.name), getattr(wanted, field.name))
    else:
        assert found == wanted


def written_and_read(value: Any) -> Any:
    tensors: dict[str, torch.Tensor] = {}
    return _from_tree(rebuild(flatten(_to_tree(value), "baseline", tensors), tensors))


def test_rankings_come_back_with_every_dimension_and_id() -> None:
    result = {"vdr": scores(a_gated_spec(), "vdr", mean=0.6)}
    assert_equal(written_and_read(result), result)


@pytest.mark.parametrize(
    "measure",
    [
        Mean(HALVES, NUMBERS),
        Correlation(HALVES, HALVES, of_ranks=True),
        Decisions(HALVES, HALVES, "f1"),
        Classes(NUMBERS, NUMBERS, "f1_macro"),
        Divergence(HALVES, HALVES, 0.5),
        MinedPairs(NUMBERS, NUMBERS, HALVES, HALVES > 0, NUMBERS, NUMBERS, "f1"),
    ],
    ids=lambda measure: type(measure).__name__,
)
def test_every_kind_of_measure_comes_back(measure: Measure) -> None:
    scored = Scores("e", None, 3, {"m": measure}, {"threshold": 0.25})
    result = {"e": EvaluatorResult({None: scored}, None)}
    assert_equal(written_and_read(result), result)
