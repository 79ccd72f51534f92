import math
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch
from PIL import Image
from sentence_transformers import SentenceTransformer
from typing_extensions import override

from finetune_api.spec import FinetuneSpec
from finetune_trainer import losses
from finetune_trainer.data.fitting import fit_to_model
from finetune_trainer.data.loading import load_evaluation_data, load_training_data
from finetune_trainer.errors import InvalidData, InvalidSpec, OutOfMemory, StorageFailed
from finetune_trainer.models import load_model, save_model
from finetune_trainer.places import Places
from finetune_trainer.training import selection
from finetune_trainer.training.train import TrainingProgress, TrainingResult, train
from tests.trainer.builders import a_spec, pairs, places_in, write_jsonl, write_page

pytestmark = pytest.mark.training

NEGATIVES = {"columns": {"query": "q", "positive": "p", "negatives": ["n"]}}


@pytest.fixture
def places(tmp_path: Path) -> Places:
    places = places_in(tmp_path)
    write_jsonl(places.volume("data") / "train.jsonl", pairs(48))
    write_jsonl(places.volume("data") / "dev.jsonl", pairs(8, start=100))
    return places


class Run:
    """One training: the model, what it told, and what came out."""

    def __init__(self, path: Path, places: Places, spec: FinetuneSpec, **options: Any) -> None:
        self.told: list[TrainingProgress] = []
        self.model = load_model(path, spec.model, seed=spec.training.seed)
        data = load_training_data(spec, places)
        self.result: TrainingResult = train(
            self.model, data, spec, work=places.work, on_progress=self.told.append, **options
        )


def weights(model: SentenceTransformer) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}


def test_the_loss_falls_with_hard_negatives_and_matryoshka_dimensions(
    text_model: Path, places: Places
) -> None:
    spec = a_spec(
        train=NEGATIVES, loss={"matryoshkaDims": [64, 32]}, training={"epochs": "4", "warmupRatio": "0.1"}
    )
    run = Run(text_model, places, spec)
    assert run.result.steps == 24
    assert run.result.mini_batch_size == 8
    first, last = run.result.loss_curve[0], run.result.loss_curve[-1]
    assert (first[0], last[0]) == (1, 24)
    assert last[1] < 0.8 * first[1]
    assert (run.result.best_step, run.result.selection_curve, run.result.stopped) == (None, [], False)


def test_progress_is_told_after_every_step(text_model: Path, places: Places) -> None:
    run = Run(text_model, places, a_spec())
    assert [p.step for p in run.told] == [1, 2, 3, 4, 5, 6]
    assert {p.total_steps for p in run.told} == {6}
    assert run.told[-1].epoch == pytest.approx(1)
    assert run.told[-1].remaining_seconds == 0
    assert run.told[0].samples_per_second is None  # the first step is not measured
    assert (run.told[-1].samples_per_second or 0) > 0
    assert [p.loss for p in run.told] == [loss for _, loss in run.result.loss_curve]


def test_hard_negatives_are_part_of_the_loss(text_model: Path, places: Places) -> None:
    losses = [Run(text_model, places, a_spec(train=t)).told[0].loss or 0 for t in (NEGATIVES, {})]
    assert losses[0] > losses[1] + 0.1  # twice the candidates for every query


def test_the_same_seed_gives_the_same_weights_and_another_does_not(text_model: Path, places: Places) -> None:
    runs = [Run(text_model, places, a_spec(training={"seed": s, "epochs": "2"})) for s in (1, 1, 2)]
    first, again, other = (weights(r.model) for r in runs)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


# The library's own model has not taken up transformers' new name for it yet.
@pytest.mark.filterwarnings("ignore:.*gradient_checkpointing_enable:FutureWarning")
@pytest.mark.parametrize(
    "args",
    [
        {"dataloader_num_workers": 1},
        {"activation_checkpointing": True},
        {"learning_rate_mapping": {"embeddings": 0.001}},
    ],
    ids=str,
)
def test_arguments_that_only_change_how_it_is_done_change_no_loss(
    text_model: Path, places: Places, args: dict[str, Any]
) -> None:
    runs = [Run(text_model, places, a_spec(training={"args": {"max_steps": 3, **a}})) for a in ({}, args)]
    told = [[p.loss for p in run.told] for run in runs]
    assert told[1] == pytest.approx(told[0], rel=1e-5)


def test_steps_go_on_over_epochs(text_model: Path, places: Places) -> None:
    assert Run(text_model, places, a_spec(training={"args": {"max_steps": 14}})).result.steps == 14


def test_prompts_are_put_before_training_inputs_by_role(
    text_model: Path, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[tuple[str, str | None]] = set()
    preprocess = SentenceTransformer.preprocess

    def spy(self: SentenceTransformer, inputs: list[str], prompt: str | None = None, **rest: Any) -> Any:
        seen.update((text.split()[-1], prompt) for text in inputs)
        return preprocess(self, inputs, prompt=prompt, **rest)

    monkeypatch.setattr(SentenceTransformer, "preprocess", spy)
    prompts = {"prompts": {"query": "find: ", "document": "doc: "}}
    Run(text_model, places, a_spec(train=NEGATIVES, model=prompts))
    assert {prompt for last, prompt in seen if last.isdigit()} == {"find: "}
    assert {prompt for last, prompt in seen if last in {"march", "april"}} == {"doc: "}


def test_bfloat16_keeps_weights_in_float32(text_model: Path, places: Places) -> None:
    run = Run(text_model, places, a_spec(training={"autocast": "bf16", "args": {"max_steps": 2}}))
    assert {p.dtype for p in run.model.parameters()} == {torch.float32}
    assert run.result.steps == 2


def test_training_leaves_no_file_behind_and_no_text_in_the_model(
    text_model: Path, places: Places, tmp_path: Path
) -> None:
    spec = a_spec(training={"args": {"max_steps": 2}})
    run = Run(text_model, places, spec)
    assert not (places.work / "training").exists()
    save_model(run.model, tmp_path / "saved", spec.model)
    assert {p.name for p in (tmp_path / "saved").iterdir()} == {
        "1_Pooling", "config.json", "config_sentence_transformers.json", "model.safetensors", "modules.json",
        "sentence_bert_config.json", "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    assert not any(b"of march" in p.read_bytes() for p in (tmp_path / "saved").rglob("*") if p.is_file())


def test_images_are_trained_on_and_decoded_once_a_step(
    vision_model: Path, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = places.volume("data")
    for i in range(16):
        write_page(data / f"{i}.png", f"no {i}")
    write_jsonl(data / "train.jsonl", [{"q": f"page number {i}", "p": f"{i}.png"} for i in range(16)])
    spec = a_spec(model={"pooling": "Mean"}, training={"epochs": "6"}, loss={"matryoshkaDims": [64, 16]})
    opened: list[int] = []
    open_image = Image.open
    rows = load_training_data(spec, places)
    model = load_model(vision_model, spec.model, seed=1)
    fit_to_model(model, rows, {})

    def spy(*args: Any, **options: Any) -> Any:
        opened.append(1)
        return open_image(*args, **options)

    monkeypatch.setattr(Image, "open", spy)
    result = train(model, rows, spec, work=places.work, on_progress=lambda _: None)
    assert result.loss_curve[-1][1] < result.loss_curve[0][1]
    assert len(opened) == result.steps * 8


# Selection


def judged(text_model: Path, places: Places, scores: list[float], **selection: Any) -> tuple[Run, list[Any]]:
    """A run whose judge gives these scores, with the weights that it saw."""
    seen: list[dict[str, torch.Tensor]] = []
    left = iter(scores)

    def judge(model: SentenceTransformer) -> float:
        seen.append(weights(model))
        model.eval()
        return next(left)

    options = {"evaluator": "dev", "every": "0.25", **selection}
    spec = a_spec(training={"epochs": "2", "selection": options})
    return Run(text_model, places, spec, evaluate=judge), seen


def test_the_best_weights_are_the_result(text_model: Path, places: Places) -> None:
    run, seen = judged(text_model, places, [0.1, 0.4, 0.3, 0.2])
    assert run.result.selection_curve == [(3, 0.1), (6, 0.4), (9, 0.3), (12, 0.2)]
    assert run.result.best_step == 6
    result = weights(run.model)
    assert all(torch.equal(result[name], seen[1][name]) for name in result)
    assert not all(torch.equal(result[name], seen[3][name]) for name in result)


def test_judging_does_not_change_the_training(text_model: Path, places: Places) -> None:
    run, _ = judged(text_model, places, [0.1, 0.2, 0.3, 0.4])
    without = Run(text_model, places, a_spec(training={"epochs": "2"}))
    assert run.told[-1].loss == without.told[-1].loss


def test_training_ends_when_patience_runs_out(text_model: Path, places: Places) -> None:
    run, _ = judged(text_model, places, [0.5, 0.4, 0.3, 0.9], patience=2)
    assert (run.result.steps, run.result.best_step) == (9, 3)
    assert not run.result.stopped


def test_best_weights_that_cannot_be_read_back_end_the_run(
    text_model: Path, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = selection.BestWeights._keep

    def keep_and_cut(self: Any, *args: Any) -> None:
        keep(self, *args)
        (file,) = self._folder.iterdir()
        file.write_bytes(file.read_bytes()[:-100])

    monkeypatch.setattr(selection.BestWeights, "_keep", keep_and_cut)
    with pytest.raises(StorageFailed) as raised:
        judged(text_model, places, [0.5, 0.4, 0.3, 0.2])
    assert raised.value.reason == "BestWeightsLost"


def test_weights_that_were_not_put_back_are_noticed(
    text_model: Path, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selection, "put_back", lambda *_: None)
    with pytest.raises(StorageFailed) as raised:
        judged(text_model, places, [0.5, 0.4, 0.3, 0.2])
    assert raised.value.reason == "BestWeightsLost"


# What ends a run


def test_a_stop_flag_ends_after_the_step(text_model: Path, places: Places) -> None:
    stop = Event()
    stop.set()
    run = Run(text_model, places, a_spec(), stop=stop)
    assert (run.result.steps, run.result.stopped) == (1, True)


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        (pairs(5), "found 5 rows"),
        ([{"q": "same", "p": f"p {i}"} for i in range(20)], "found 20 rows whose contents"),
    ],
)
def test_too_few_rows_for_a_batch_are_refused(
    text_model: Path, places: Places, rows: list[dict[str, str]], found: str
) -> None:
    write_jsonl(places.volume("data") / "train.jsonl", rows)
    with pytest.raises(InvalidData) as raised:
        Run(text_model, places, a_spec())
    assert raised.value.reason == "TooFewRows"
    assert found in raised.value.message


@pytest.mark.parametrize("rows", [8, 9, 15])
def test_rows_that_do_not_fill_a_last_batch_wait_for_the_next_epoch(
    text_model: Path, places: Places, rows: int
) -> None:
    write_jsonl(places.volume("data") / "train.jsonl", pairs(rows))
    assert Run(text_model, places, a_spec(training={"epochs": "2"})).result.steps == 2


def test_a_loss_that_is_no_number_ends_the_run_at_its_step(
    text_model: Path, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = losses.build_loss

    class Diverging(torch.nn.Module):
        def __init__(self, inner: torch.nn.Module) -> None:
            super().__init__()
            self.inner, self.calls = inner, 0

        @override
        def forward(self, features: Any, labels: Any) -> Any:
            self.calls += 1
            return self.inner(features, labels) * (math.nan if self.calls == 3 else 1)

    monkeypatch.setattr(
        "finetune_trainer.training.train.build_loss", lambda *a, **o: Diverging(build(*a, **o))
    )
    with pytest.raises(InvalidSpec) as raised:
        Run(text_model, places, a_spec())
    assert raised.value.reason == "LossNotFinite"
    assert raised.value.message == "the loss of step 3 must be a number, found nan"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), "HostOutOfMemory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "HostOutOfMemory"),
        (torch.OutOfMemoryError("CUDA out of memory"), "CudaOutOfMemory"),
    ],
)
def test_running_out_of_memory_is_told_with_what_to_lower(
    text_model: Path, places: Places, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("finetune_trainer.training.train.build_loss", fail)
    with pytest.raises(OutOfMemory) as raised:
        Run(text_model, places, a_spec())
    assert raised.value.reason == reason
    assert "loss.args.mini_batch_size" in raised.value.hint


def test_other_errors_are_not_taken_for_memory(
    text_model: Path, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("something else")

    monkeypatch.setattr("finetune_trainer.training.train.build_loss", fail)
    with pytest.raises(RuntimeError, match="something else"):
        Run(text_model, places, a_spec())


def test_images_for_a_model_that_reads_text_are_refused(text_model: Path, places: Places) -> None:
    data = places.volume("data")
    write_page(data / "a.png", "a")
    write_jsonl(data / "train.jsonl", [{"q": "a", "p": "a.png"}])
    write_jsonl(data / "dev.jsonl", [{"q": "a", "p": "a.png"}])
    spec = a_spec()
    model = load_model(text_model, spec.model, seed=1)
    images, evaluation = load_training_data(spec, places), load_evaluation_data(spec, places)
    write_jsonl(data / "train.jsonl", pairs(1))
    texts = load_training_data(spec, places)
    for training, sets, where in (
        (images, {}, "column of role 'positive' in train set 'train'"),
        (texts, evaluation, "corpus of eval set 'dev'"),
    ):
        with pytest.raises(InvalidData) as raised:
            fit_to_model(model, training, sets)
        assert raised.value.reason == "UnsupportedModality"
        assert raised.value.message.startswith(f"{where} holds image inputs; the model reads text")
