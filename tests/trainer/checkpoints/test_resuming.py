"""A training that is interrupted and gone on with is the training that was not, to the last bit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from finetune_trainer.checkpoints.folders import FolderCheckpoints
from finetune_trainer.data.inputs import TrainingData
from finetune_trainer.places import Places
from finetune_trainer.training import quiet
from tests.trainer.builders import a_spec, pairs, write_jsonl, write_page
from tests.trainer.checkpoints.training import Attempt, Training, a_training, assert_same
from tests.trainer.train_sets import ANSWERS, OTHERS, QUERIES, SHAPES, spec_of, train_set

pytestmark = pytest.mark.training

LORA = {"lora": {"rank": 2, "alpha": 4, "dropout": "0.1"}}


@pytest.fixture
def places(places: Places) -> Places:
    write_jsonl(places.volume("data") / "train.jsonl", pairs(32))
    return places


@pytest.fixture(autouse=True)
def no_pickle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither written nor read."""

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("a pickle")

    monkeypatch.setattr(torch, "load", fail)
    monkeypatch.setattr(torch, "save", fail)


def interrupted(training: Training, *, after: int) -> Attempt:
    """Stopped after a step, and gone on with to the end."""
    stopped = training.attempt(stop_after=after)
    assert (stopped.result.steps, stopped.result.stopped, stopped.checkpointed) == (after, True, [after])
    resumed = training.attempt()
    assert (resumed.began_after, resumed.result.resumed_at) == ([after], (after,))
    assert (resumed.result.deviations, resumed.notes) == ((), [])
    return resumed


@pytest.mark.parametrize(
    ("model", "step"),
    [
        pytest.param({}, 3, id="in the first epoch", marks=pytest.mark.slow),
        pytest.param({}, 4, id="between epochs"),
        pytest.param({}, 6, id="in the second epoch"),
        pytest.param(LORA, 3, id="LoRA in the first epoch", marks=pytest.mark.slow),
        pytest.param(LORA, 4, id="LoRA between epochs", marks=pytest.mark.slow),
        pytest.param(LORA, 6, id="LoRA in the second epoch"),
    ],
)
def test_a_text_model_is_trained_on_bit_by_bit(
    text_model: Path, places: Places, tmp_path: Path, model: dict[str, Any], step: int
) -> None:
    spec = a_spec(model=model, training={"epochs": "2", "warmupRatio": "0.2"})
    training = a_training(spec, places, text_model, tmp_path / "kept")
    whole = training.attempt(with_checkpoints=False)
    resumed = interrupted(training, after=step)
    assert "Cached" in whole.result.losses[0]
    assert_same(resumed, whole)


@pytest.mark.parametrize(
    ("fixture", "model"),
    [
        pytest.param("clip", {}, marks=pytest.mark.slow),
        pytest.param("clip", LORA, marks=pytest.mark.slow),
        pytest.param("vision", {"pooling": "Mean"}, marks=pytest.mark.slow),
        ("vision", {"pooling": "Mean", **LORA}),
    ],
    ids=["CLIP", "CLIP with LoRA", "vision-language", "vision-language with LoRA"],
)
def test_a_model_of_images_is_trained_on_bit_by_bit(
    tiny: Callable[[str], Path], places: Places, tmp_path: Path, fixture: str, model: dict[str, Any]
) -> None:
    data = places.volume("data")
    for i in range(16):
        write_page(data / f"{i}.png", f"no {i}")
    write_jsonl(data / "train.jsonl", [{"q": f"page number {i}", "p": f"{i}.png"} for i in range(16)])
    spec = a_spec(model=model, training={"epochs": "2", "args": {}}, loss={"args": {"mini_batch_size": 4}})
    training = a_training(spec, places, tiny(fixture), tmp_path / "kept")
    assert_same(interrupted(training, after=3), training.attempt(with_checkpoints=False))


def test_several_train_sets_are_gone_on_with_in_their_order(
    text_model: Path, places: Places, tmp_path: Path
) -> None:
    """Batches of two sets in proportion; one of the losses has weights of its own."""
    two = TrainingData(
        (
            SHAPES["pairs"],
            train_set(
                "classes",
                loss=_loss("SoftmaxLoss"),
                input_0=[f"letter {i}" for i in range(16)],
                input_1=[f"reply {i}" for i in range(16)],
                label=[i % 3 for i in range(16)],
            ),
        )
    )
    spec = spec_of("Embedding", training={"epochs": "2", "batchSize": 4})
    training = a_training(spec, places, text_model, tmp_path / "kept", data=two)
    whole = training.attempt(with_checkpoints=False)
    resumed = interrupted(training, after=11)
    assert_same(resumed, whole)


def _loss(name: str) -> Any:
    from finetune_api.loss import Loss

    return Loss.model_validate({"name": name})


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("Sparse", "triplets"),
        pytest.param("Reranker", "pairs with 0 or 1", marks=pytest.mark.slow),
        pytest.param("MultiVector", "triplets", marks=pytest.mark.slow),
    ],
)
def test_other_types_of_model_go_on_with_their_losses(
    tiny: Callable[[str], Path], places: Places, tmp_path: Path, kind: str, shape: str
) -> None:
    """The loss of a sparse model has regularisers that grow with the steps."""
    path = tiny({"Sparse": "sparse", "Reranker": "reranker", "MultiVector": "multi-vector"}[kind])
    spec = spec_of(kind, training={"epochs": "3", "batchSize": 4})
    training = a_training(spec, places, path, tmp_path / "kept", data=TrainingData((SHAPES[shape],)))
    assert_same(interrupted(training, after=2), training.attempt(with_checkpoints=False))


# What shows that these tests can fail


@pytest.mark.parametrize(
    "forgotten",
    [
        pytest.param("_load_rng_state", id="random generators"),
        pytest.param("_load_optimizer_and_scheduler", id="optimizer", marks=pytest.mark.slow),
    ],
)
def test_what_is_not_put_back_makes_another_training(
    text_model: Path, places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgotten: str
) -> None:
    training = a_training(a_spec(training={"epochs": "2"}), places, text_model, tmp_path / "kept")
    whole = training.attempt(with_checkpoints=False)
    training.attempt(stop_after=3)
    monkeypatch.setattr(quiet.Quiet, forgotten, lambda *_: None)
    with pytest.raises(AssertionError):
        assert_same(training.attempt(), whole)


# Selection


class Judge:
    """Scores by the step that is judged, as an evaluator would find them."""

    def __init__(self, *scores: float) -> None:
        self.scores = scores
        self.judged = 0

    def __call__(self, model: Any) -> float:
        model.eval()
        self.judged += 1
        return self.scores[self.judged - 1]


@pytest.mark.parametrize(
    "after",
    [
        pytest.param(3, id="before it", marks=pytest.mark.slow),
        pytest.param(4, id="at a judgement"),
        pytest.param(5, id="after the best", marks=pytest.mark.slow),
    ],
)
def test_the_best_weights_and_patience_are_kept(
    text_model: Path, places: Places, tmp_path: Path, after: int
) -> None:
    selection = {"evaluator": "dev", "every": "0.25", "patience": 2}
    spec = a_spec(model=LORA, training={"epochs": "2", "selection": selection})
    whole_judge, judge = Judge(0.1, 0.4, 0.3, 0.2), Judge(0.1, 0.4, 0.3, 0.2)
    training = a_training(spec, places, text_model, tmp_path / "kept", evaluate=whole_judge)
    whole = training.attempt(with_checkpoints=False)
    training.evaluate = judge
    resumed = interrupted(training, after=after)
    assert whole.result.best_step == 4
    assert judge.judged == whole_judge.judged == 4
    assert_same(resumed, whole)


@pytest.mark.slow
def test_a_judgement_that_a_stop_left_out_may_end_the_training(
    text_model: Path, places: Places, tmp_path: Path
) -> None:
    selection = {"evaluator": "dev", "every": "0.25", "patience": 1}
    spec = a_spec(training={"epochs": "2", "selection": selection})
    training = a_training(spec, places, text_model, tmp_path / "kept", evaluate=Judge(0.4, 0.1))
    whole = training.attempt(with_checkpoints=False)
    training.evaluate = Judge(0.4, 0.1)
    resumed = interrupted(training, after=4)
    assert resumed.told == []
    assert (resumed.result.steps, resumed.result.best_step) == (4, 2)
    assert_same(resumed, whole)


# When checkpoints are written, and what else they hold


@pytest.fixture
def training(text_model: Path, places: Places, tmp_path: Path) -> Training:
    """Four steps of a text model."""
    return a_training(a_spec(), places, text_model, tmp_path / "kept")


def test_one_is_written_whenever_the_last_is_old_enough_and_one_of_the_result(training: Training) -> None:
    training.every_seconds = 0
    whole = training.attempt()
    assert whole.checkpointed == [1, 2, 3, 4]
    assert isinstance(training.store, FolderCheckpoints)
    assert {path.name for path in training.store.folder.iterdir()} == {"step-3", "step-4"}
    again = training.attempt()
    assert (again.began_after, again.told, again.checkpointed) == ([4], [], [])
    assert_same(again, whole)


def test_a_training_that_was_gone_on_with_twice_says_so(training: Training) -> None:
    whole = training.attempt(with_checkpoints=False)
    training.attempt(stop_after=1)
    training.setting = {"device": "another"}
    training.attempt(stop_after=3)
    last = training.attempt()
    assert last.result.resumed_at == (1, 3)
    assert last.result.deviations == ("device cpu until step 1, then another",)
    assert last.notes == ["the training was resumed: device cpu until step 1, then another"]
    assert_same(last, whole)


def test_hard_negatives_that_came_out_otherwise_are_told(training: Training) -> None:
    """Of the same sources: a GPU need not mine the same twice."""
    mined = [train_set(query=QUERIES, positive=ANSWERS, negative_0=n) for n in (OTHERS, OTHERS[::-1])]
    training.data = TrainingData((mined[0],))
    training.attempt(stop_after=1)
    training.data = TrainingData((mined[1],))
    resumed = training.attempt()
    assert (resumed.began_after, resumed.result.deviations) == ([1], ("other hard negatives after step 1",))


def test_the_size_of_mini_batches_is_kept(training: Training, monkeypatch: pytest.MonkeyPatch) -> None:
    training.attempt(stop_after=2)
    monkeypatch.setattr("finetune_trainer.training.train.choose_mini_batch_size", lambda *_: 2)
    assert training.attempt().result.mini_batch_size == 8


def test_time_left_is_told_by_the_steps_of_this_attempt(training: Training) -> None:
    training.attempt(stop_after=2)
    resumed = training.attempt()
    assert [p.step for p in resumed.told] == [3, 4]
    assert [p.remaining_seconds is None for p in resumed.told] == [True, False]
    assert resumed.told[-1].remaining_seconds == 0


def test_a_checkpoint_that_cannot_be_written_stops_no_training(
    training: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device", "/claim")

    monkeypatch.setattr("finetune_trainer.training.saving.write_training", full)
    training.every_seconds = 0
    attempt = training.attempt()
    assert (attempt.result.steps, attempt.checkpointed) == (4, [4])
    (note,) = attempt.notes
    assert "the training goes on: StorageFailed" in note
    stopped = training.attempt()
    assert stopped.began_after == [4]


def test_weights_that_do_not_fit_the_model_are_left_alone(training: Training, tiny: Any) -> None:
    """Of the same name, but a library has built it in another way."""
    training.attempt(stop_after=2)
    load = training.model

    def wider() -> Any:
        model = load()
        model.register_buffer("new", torch.zeros(3))
        return model

    training.model = wider
    attempt = training.attempt()
    assert attempt.began_after == [0]
    assert (
        "the training begins anew, for its checkpoint does not fit the model: model/new" in attempt.notes[0]
    )
    training.model = load
    assert attempt.losses == training.attempt(with_checkpoints=False).losses
