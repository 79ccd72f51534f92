"""What a training consists of: written into a checkpoint after a step, and put back before the next one.

Exactly everything that the rest of the training depends on. Weights that are not trained come from the base
model again; which batches follow is known from the step, for samplers draw an epoch from its number alone.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from finetune_trainer.checkpoints.manifest import Checkpoint
from finetune_trainer.checkpoints.tensors import put_back, read_tensors, trained_tensors, write_tensors
from finetune_trainer.checkpoints.trees import flatten, rebuild

if TYPE_CHECKING:
    from finetune_trainer.training.loop import Loop
    from finetune_trainer.training.quiet import Quiet

Json = dict[str, Any]
WEIGHTS, STATE, RANDOM = "weights", "state", "random"


@dataclass(frozen=True)
class History:
    """What came before this attempt, and what made it. Lineage of the weights, not needed to go on.

    resumed_at: steps after which an attempt went on; deviations: in what it was not as the attempt before.
    mini_batch_sizes: of each train set; setting: device and versions of libraries; rows: digest of the rows.
    """

    mini_batch_sizes: Mapping[str, int]
    setting: Mapping[str, str]
    rows: str
    resumed_at: Sequence[int] = ()
    deviations: Sequence[str] = ()

    def to_json(self) -> Json:
        return {
            "miniBatchSizes": dict(self.mini_batch_sizes),
            "setting": dict(self.setting),
            "rows": self.rows,
            "resumedAt": list(self.resumed_at),
            "deviations": list(self.deviations),
        }

    def after(self, kept: Checkpoint) -> "History":
        """Of an attempt here that goes on from a checkpoint: with its mini-batches, whatever fits here."""
        before: Json = kept.state["history"]
        step, then = kept.step, before["setting"]
        changed = [
            f"{name} {then[name]} until step {step}, then {now}"
            for name, now in self.setting.items()
            if then.get(name, now) != now
        ]
        if before["rows"] != self.rows:
            changed.append(f"other hard negatives after step {step}")
        return History(
            before["miniBatchSizes"],
            self.setting,
            self.rows,
            [*before["resumedAt"], step],
            list(dict.fromkeys([*before["deviations"], *changed])),
        )


def write_training(trainer: "Quiet", loop: "Loop", history: History, folder: Path) -> Json:
    """Fill the folder after a step; gives the part that is JSON."""
    write_tensors(folder, WEIGHTS, trained_tensors(trainer.trained_modules))
    tensors: dict[str, torch.Tensor] = {}
    generators: dict[str, torch.Tensor] = {}
    optimizer, scheduler = trainer.optimizer, trainer.lr_scheduler
    assert optimizer is not None  # noqa: S101 - there is one while it trains
    assert scheduler is not None  # noqa: S101
    state = {
        "optimizer": flatten(optimizer.state_dict(), "optimizer", tensors),
        "scheduler": flatten(scheduler.state_dict(), "scheduler", tensors),
        "random": flatten(random_state(), RANDOM, generators),
    }
    write_tensors(folder, STATE, tensors)
    write_tensors(folder, RANDOM, generators)
    trainer.state.save_to_json(str(folder / "trainer_state.json"))
    if loop.best is not None:
        loop.best.copy_to(folder)
    return {**state, **_told(loop, history)}


def write_result(trainer: "Quiet", loop: "Loop", history: History, folder: Path) -> Json:
    """Fill the folder at the end: the weights that are evaluated, and no more."""
    write_tensors(folder, WEIGHTS, trained_tensors({"model": trainer.trained_modules["model"]}))
    return _told(loop, history)


def _told(loop: "Loop", history: History) -> Json:
    return {"loop": loop.to_json(), "history": history.to_json()}


def restore_weights(trainer: "Quiet", kept: Checkpoint) -> None:
    """Raises Damaged, with nothing changed, where model and checkpoint do not fit."""
    modules = trainer.trained_modules
    if kept.finished:
        modules = {"model": modules["model"]}
    put_back(kept.folder, WEIGHTS, trained_tensors(modules))


def optimizer_state(kept: Checkpoint) -> tuple[Any, Any]:
    """Of optimizer and scheduler."""
    tensors = dict(read_tensors(kept.folder, STATE))
    return rebuild(kept.state["optimizer"], tensors), rebuild(kept.state["scheduler"], tensors)


def restore_random_state(kept: Checkpoint) -> None:
    state = rebuild(kept.state["random"], dict(read_tensors(kept.folder, RANDOM)))
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])


def random_state() -> Json:
    """Of every generator that a step may draw from."""
    return {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
