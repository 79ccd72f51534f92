"""What happens around a step: a callback that watches the library's trainer."""

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from typing_extensions import override

from finetune_trainer.errors import InvalidSpec
from finetune_trainer.training.outcome import StopFlag, TrainingProgress
from finetune_trainer.training.quiet import Quiet
from finetune_trainer.training.saving import Saver
from finetune_trainer.training.selection import BestWeights

_POINTS = 100
"""Entries of the loss curve."""


class Loop(TrainerCallback):
    """After every step: is the loss a number, how far is it, is it time to judge, to save or to stop."""

    def __init__(
        self,
        *,
        total_steps: int,
        batch_size: int,
        on_progress: Callable[[TrainingProgress], None],
        stop: StopFlag | None,
        best: BestWeights | None,
        saver: Saver | None = None,
    ) -> None:
        self._total_steps = total_steps
        self._batch_size = batch_size
        self._on_progress = on_progress
        self._stop = stop
        self.best = best
        self._saver = saver
        self._per_point = math.ceil(total_steps / _POINTS)
        self._losses: list[float] = []
        self._seconds = 0.0
        self._last_end = 0.0
        self._first_step = 1
        self.curve: list[tuple[int, float]] = []
        self.step = 0
        self.stopped = False

    def attach(self, trainer: Quiet) -> None:
        """The trainer whose losses are looked at; it is built with this callback already in it."""
        self._trainer = trainer

    def to_json(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        best = self.best.to_json() if self.best is not None else None
        return {"curve": self.curve, "losses": self._losses, "best": best}

    def take(self, state: Mapping[str, Any], *, step: int, folder: Path) -> None:
        """Go on where a checkpoint in this folder was."""
        self.step, self._first_step = step, step + 1
        self.curve = [(at, loss) for at, loss in state["curve"]]
        self._losses = list(state["losses"])
        if self.best is not None:
            self.best.take(state["best"], folder)

    def is_over(self) -> bool:
        """Before another step of a training that goes on: whether there is none to make.

        Makes up for a judgement that a stop left out.
        """
        if self.best is not None and self.best.is_due(self.step):
            self._judge(self.best)
        patience_is_out = self.best is not None and self.best.is_out_of_patience
        return patience_is_out or self.step == self._total_steps

    @override
    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.step = state.global_step
        loss = self._finite_loss()
        self._measure_step()
        self._record(loss)
        self._on_progress(self._progress(state.epoch, loss))
        if self._is_asked_to_stop() or not self._goes_on():
            control.should_training_stop = True

    def _goes_on(self) -> bool:
        """Judge and save when it is time for it. False when patience has run out, or a stop was asked for."""
        if self.best is not None and self.best.is_due(self.step) and not self._judge(self.best):
            return False
        if self._saver is not None and self.step < self._total_steps and self._saver.is_due():
            self._saver.save(self._trainer, self)
            self._last_end = time.monotonic()
        return not self._is_asked_to_stop()

    def _is_asked_to_stop(self) -> bool:
        """Then what is done so far is saved. After the last step there is nothing to stop."""
        if self._stop is None or not self._stop.is_set() or self.step == self._total_steps:
            return False
        self.stopped = True
        if self._saver is not None:
            self._saver.save(self._trainer, self)
        return True

    def _finite_loss(self) -> float:
        loss = float(self._trainer.last_loss)
        if not math.isfinite(loss):
            raise InvalidSpec(
                "LossNotFinite",
                f"the loss of step {self.step} must be a number, found {loss}",
                "lower `training.learningRate`, or set `training.autocast` to None",
            )
        return loss

    def _measure_step(self) -> None:
        """The first step builds and warms up what the others find ready, so it does not count."""
        now = time.monotonic()
        if self.step > self._first_step:
            self._seconds += now - self._last_end
        self._last_end = now

    def _record(self, loss: float) -> None:
        self._losses.append(loss)
        if len(self._losses) == self._per_point or self.step == self._total_steps:
            self.curve.append((self.step, sum(self._losses) / len(self._losses)))
            self._losses = []

    def _progress(self, epoch: float, loss: float) -> TrainingProgress:
        steps = self.step - self._first_step
        per_step = self._seconds / steps if steps and self._seconds else None
        return TrainingProgress(
            step=self.step,
            total_steps=self._total_steps,
            epoch=float(epoch),
            loss=loss,
            samples_per_second=self._batch_size / per_step if per_step else None,
            remaining_seconds=round((self._total_steps - self.step) * per_step) if per_step else None,
        )

    def _judge(self, best: BestWeights) -> bool:
        model: Any = self._trainer.model
        try:
            return best.judge(model, self.step)
        finally:
            model.train()
            self._last_end = time.monotonic()
