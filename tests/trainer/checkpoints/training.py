"""A small training that can be interrupted after a step, and gone on with by another one."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from finetune_api.spec import FinetuneSpec
from finetune_trainer.checkpoints import Checkpoints
from finetune_trainer.checkpoints.folders import FolderCheckpoints
from finetune_trainer.checkpoints.store import CheckpointStore
from finetune_trainer.checkpoints.tensors import trained_tensors
from finetune_trainer.data.fitting import fit_to_model
from finetune_trainer.data.inputs import TrainingData
from finetune_trainer.data.loading import load_training_data
from finetune_trainer.models import load_model, make_trainable
from finetune_trainer.places import Places
from finetune_trainer.training.outcome import TrainingProgress, TrainingResult
from finetune_trainer.training.saving import Resuming
from finetune_trainer.training.train import train


class StopAfter:
    """Asks for a stop once so many steps have been told."""

    def __init__(self, step: int | None) -> None:
        self.step = step
        self.told: list[TrainingProgress] = []

    def is_set(self) -> bool:
        return self.step is not None and bool(self.told) and self.told[-1].step >= self.step


@dataclass
class Attempt:
    """What an attempt told and left. weights: of everything that is trained."""

    result: TrainingResult
    told: list[TrainingProgress]
    weights: dict[str, torch.Tensor]
    notes: list[str]
    began_after: list[int]
    checkpointed: list[int]

    @property
    def losses(self) -> dict[int, float | None]:
        return {p.step: p.loss for p in self.told}


@dataclass
class Training:
    """A training in attempts. Each begins with the model as the base has it, as a new process would."""

    spec: FinetuneSpec
    places: Places
    model: Callable[[], Any]
    store: CheckpointStore
    data: TrainingData | None = None
    evaluate: Callable[[Any], float] | None = None
    keep: int = 2
    every_seconds: float = 1e6
    setting: dict[str, str] = field(default_factory=lambda: {"device": "cpu"})
    origin: dict[str, str] = field(default_factory=dict)

    def attempt(self, *, stop_after: int | None = None, with_checkpoints: bool = True) -> Attempt:
        torch.manual_seed(123)  # noise that a new process would have, too
        model = self.model()
        make_trainable(model, self.spec.model, seed=self.spec.training.seed)
        notes: list[str] = []
        began: list[int] = []
        saved: list[int] = []
        kept = Checkpoints(self.store, keep=self.keep, every_seconds=self.every_seconds, note=notes.append)
        names = {"spec_hash": "v1:0", "model": "sha256:1", "data": "sha256:2", **self.origin}
        resuming = Resuming(
            checkpoints=kept,
            setting=self.setting,
            on_resumed=lambda step, _: began.append(step),
            on_checkpoint=saved.append,
            note=notes.append,
            **names,
        )
        stop = StopAfter(stop_after)
        result = train(
            model,
            self.data or load_training_data(self.spec, self.places),
            self.spec,
            work=self.places.work,
            on_progress=stop.told.append,
            evaluate=self.evaluate,
            stop=stop,
            resuming=resuming if with_checkpoints else None,
        )
        weights = {name: tensor.clone() for name, tensor in trained_tensors({"model": model}).items()}
        return Attempt(result, stop.told, weights, notes, began, saved)


def a_training(
    spec: FinetuneSpec, places: Places, path: Path, folder: Path, *, dropout: float = 0.1, **options: Any
) -> Training:
    """Of the model in `path`, with dropout wherever it has any; checkpoints lie below `folder`."""

    def load() -> Any:
        model = load_model(path, spec.model, seed=spec.training.seed)
        set_dropout(model, dropout)
        if "data" not in options:
            fit_to_model(model, load_training_data(spec, places), {})
        return model

    return Training(spec, places, load, FolderCheckpoints(folder, Path("team/search/u-1/1")), **options)


def set_dropout(model: Any, share: float) -> None:
    """Also in attention, which keeps its share as a number."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = share
        for name in ("attention_dropout", "dropout_prob"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, share)


def assert_same(resumed: Attempt, whole: Attempt) -> None:
    """Weights bit by bit, and the losses of the steps that both have."""
    assert resumed.weights.keys() == whole.weights.keys()
    differing = {
        name: float((kept.double() - resumed.weights[name].double()).abs().max())
        for name, kept in whole.weights.items()
        if not torch.equal(kept, resumed.weights[name])
    }
    assert differing == {}
    assert resumed.losses == {s: loss for s, loss in whole.losses.items() if s > resumed.began_after[0]}
    assert resumed.result.loss_curve == whole.result.loss_curve
    assert resumed.result.selection_curve == whole.result.selection_curve
    assert resumed.result.best_step == whole.result.best_step
