"""Writes the checkpoints of a training and finds the one to go on from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune_trainer.checkpoints import Checkpoint, Checkpoints, Damaged, Origin
from finetune_trainer.data.inputs import TrainingData
from finetune_trainer.digests import content_digest
from finetune_trainer.training.resuming import History, restore_weights, write_result, write_training

if TYPE_CHECKING:
    from finetune_trainer.training.loop import Loop
    from finetune_trainer.training.quiet import Quiet


@dataclass(frozen=True)
class Resuming:
    """What the training does not know by itself.

    model: commit or digest of the base model; setting: device and versions, which a result may depend on;
    on_resumed: told the step after which the training begins and all steps; on_checkpoint: told the step of a
    new checkpoint; note: told what a person should know.
    """

    checkpoints: Checkpoints
    spec_hash: str
    model: str
    data: str
    setting: Mapping[str, str]
    on_resumed: Callable[[int, int], None]
    on_checkpoint: Callable[[int], None]
    note: Callable[[str], None]

    def saver(self, data: TrainingData, total_steps: int, mini_batch_sizes: Mapping[str, int]) -> "Saver":
        """mini_batch_sizes: what fits here, by train set; that of a checkpoint goes before it."""
        rows = content_digest(one.content_keys.tobytes() for one in data.sets)
        origin = Origin(self.spec_hash, self.model, self.data, total_steps)
        return Saver(self, origin, History(mini_batch_sizes, self.setting, rows))


class Saver:
    """The checkpoints of one training. Finds the newest usable one when it is made."""

    def __init__(self, resuming: Resuming, origin: Origin, history: History) -> None:
        self._resuming = resuming
        self._checkpoints = resuming.checkpoints
        self._origin = origin
        self._kept = self._checkpoints.find(origin)
        self._last_step = self._kept.step if self._kept is not None else None
        self.history = history.after(self._kept) if self._kept is not None else history

    @property
    def mini_batch_sizes(self) -> Mapping[str, int]:
        return self.history.mini_batch_sizes

    def put_back(self, trainer: "Quiet", loop: "Loop") -> Checkpoint | None:
        """Let model and loop be where the checkpoint was; None where there is none to go on from."""
        kept = self._kept
        try:
            if kept is not None:
                restore_weights(trainer, kept)
        except Damaged as damage:
            self._resuming.note(
                f"the training begins anew, for its checkpoint does not fit the model: {damage}"
            )
            kept, self._last_step = None, None
        if kept is not None:
            loop.take(kept.state["loop"], step=kept.step, folder=kept.folder)
        for deviation in self.history.deviations:
            self._resuming.note(f"the training was resumed: {deviation}")
        self._resuming.on_resumed(loop.step, self._origin.total_steps)
        self._checkpoints.begin()
        return kept

    def is_due(self) -> bool:
        """Whether the last one is old enough."""
        return self._checkpoints.is_due()

    def save(self, trainer: "Quiet", loop: "Loop") -> None:
        """One of the step that was just made, unless there is one. Never raises."""
        if loop.step == self._last_step:
            return
        self._save(loop.step, lambda folder: write_training(trainer, loop, self.history, folder))

    def save_result(self, trainer: "Quiet", loop: "Loop") -> None:
        """One of the end, with the weights that will be evaluated. Never raises."""
        self._save(loop.step, lambda folder: write_result(trainer, loop, self.history, folder), finished=True)

    def _save(self, step: int, write: Callable[[Path], Mapping[str, Any]], *, finished: bool = False) -> None:
        if self._checkpoints.save(step, self._origin, write, finished=finished):
            self._last_step = step
            self._resuming.on_checkpoint(step)
