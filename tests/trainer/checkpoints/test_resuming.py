"""A training that is interrupted and gone on with is the training that was not, to the last bit."""

from pathlib import Path
from typing import Any

import pytest
import torch

from finetune_trainer.places import Places
from tests.trainer.builders import a_spec, pairs, write_jsonl
from tests.trainer.checkpoints.training import a_training, assert_same

pytestmark = pytest.mark.training

LORA = {"lora": {"rank": 2, "alpha": 4, "dropout": "0.1"}}


@pytest.fixture
def places(places: Places) -> Places:
    write_jsonl(places.volume("data") / "train.jsonl", pairs(32))
    return places


@pytest.mark.parametrize("model", [{}, LORA], ids=["full", "LoRA"])
@pytest.mark.parametrize("step", [3, 4, 6], ids=["first epoch", "between epochs", "second epoch"])
def test_a_text_model_is_trained_on_bit_by_bit(
    text_model: Path, places: Places, tmp_path: Path, model: dict[str, Any], step: int
) -> None:
    spec = a_spec(model=model, training={"epochs": "2", "warmupRatio": "0.2"})
    training = a_training(spec, places, text_model, tmp_path / "kept")
    whole = training.attempt(with_checkpoints=False)
    stopped = training.attempt(stop_after=step)
    assert (stopped.result.steps, stopped.result.stopped, stopped.checkpointed) == (step, True, [step])
    resumed = training.attempt()
    assert resumed.began_after == [step]
    assert_same(resumed, whole)
    assert stopped.weights.keys() == whole.weights.keys()
    assert not all(torch.equal(stopped.weights[n], whole.weights[n]) for n in whole.weights)
