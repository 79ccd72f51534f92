"""What happens around a step: the library's trainer without its records, and a callback that watches it."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from itertools import cycle
from typing import TYPE_CHECKING, Any

import torch
from sentence_transformers import (
    CrossEncoderTrainer,
    MultiVectorEncoderTrainer,
    SentenceTransformerTrainer,
    SparseEncoderTrainer,
)
from sentence_transformers.base.sampler import DefaultBatchSampler
from sentence_transformers.sparse_encoder.callbacks import SpladeRegularizerWeightSchedulerCallback
from sentence_transformers.sparse_encoder.losses import SpladeLoss
from transformers import PrinterCallback, TrainerCallback
from typing_extensions import override

from finetune_api.loss_table import ModelType
from finetune_trainer.data.lists import ListCollator
from finetune_trainer.errors import InvalidSpec
from finetune_trainer.training.batches import MakeSampler
from finetune_trainer.training.outcome import StopFlag, TrainingProgress
from finetune_trainer.training.selection import BestWeights

if TYPE_CHECKING:
    from sentence_transformers.base.trainer import BaseTrainer as _Trainer
else:
    _Trainer = object

_POINTS = 100
"""Entries of the loss curve."""


class Quiet(_Trainer):
    """What the library's four trainers do here: no model card, which would read all data again and keep
    examples of it; batches from samplers of our own.

    last_loss: of the latest step, (), on the model's device.
    """

    last_loss: torch.Tensor

    def __init__(
        self, *, samplers: Sequence[MakeSampler], listed: frozenset[str] = frozenset(), **arguments: Any
    ) -> None:
        """samplers: for each train set in its order, what draws its batches. listed: as for ListCollator."""
        self._samplers = cycle(samplers)
        self._listed = listed
        super().__init__(**arguments)
        self.remove_callback(PrinterCallback)

    @override
    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """None: models are published without a card."""

    @override
    def get_data_collator(self, *args: Any, **options: Any) -> Any:
        collator = super().get_data_collator(*args, **options)
        if not self._listed:
            return collator
        return ListCollator(
            **{f.name: getattr(collator, f.name) for f in fields(collator) if f.init}, listed=self._listed
        )

    @override
    def get_batch_sampler(self, dataset: Any, *args: Any, **options: Any) -> DefaultBatchSampler:
        return next(self._samplers)(dataset, *args, **options)

    @override
    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        loss: Any = super().compute_loss(*args, **kwargs)
        self.last_loss = loss.detach()
        return loss


def quiet_trainer(model_type: ModelType) -> type[Quiet]:
    """The library's trainer for this type of model, with the above in front."""
    trainers = {
        "Embedding": SentenceTransformerTrainer,
        "Reranker": CrossEncoderTrainer,
        "Sparse": SparseEncoderTrainer,
        "MultiVector": MultiVectorEncoderTrainer,
    }
    return type(f"Quiet{model_type}Trainer", (Quiet, trainers[model_type]), {})


def loss_callbacks(losses: Iterable[torch.nn.Module]) -> list[TrainerCallback]:
    """Regularisers of sparse models begin at nothing: at full weight they would make all values zero."""
    return [SpladeRegularizerWeightSchedulerCallback(loss) for loss in losses if isinstance(loss, SpladeLoss)]


class Loop(TrainerCallback):
    """After every step: is the loss a number, how far is it, is it time to judge or to stop."""

    def __init__(
        self,
        *,
        total_steps: int,
        batch_size: int,
        on_progress: Callable[[TrainingProgress], None],
        stop: StopFlag | None,
        best: BestWeights | None,
    ) -> None:
        self._total_steps = total_steps
        self._batch_size = batch_size
        self._on_progress = on_progress
        self._stop = stop
        self._best = best
        self._per_point = math.ceil(total_steps / _POINTS)
        self._losses: list[float] = []
        self._seconds = 0.0
        self._last_end = 0.0
        self.curve: list[tuple[int, float]] = []
        self.step = 0
        self.stopped = False

    def attach(self, trainer: Quiet) -> None:
        """The trainer whose losses are looked at; it is built with this callback already in it."""
        self._trainer = trainer

    @override
    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.step = state.global_step
        loss = self._finite_loss()
        self._measure_step()
        self._record(loss)
        self._on_progress(self._progress(state.epoch, loss))
        if self._stop is not None and self._stop.is_set():
            self.stopped = self.step < self._total_steps
            control.should_training_stop = True
        elif self._best is not None and self._best.is_due(self.step) and not self._judge(self._best):
            control.should_training_stop = True

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
        if self.step > 1:
            self._seconds += now - self._last_end
        self._last_end = now

    def _record(self, loss: float) -> None:
        self._losses.append(loss)
        if len(self._losses) == self._per_point or self.step == self._total_steps:
            self.curve.append((self.step, sum(self._losses) / len(self._losses)))
            self._losses = []

    def _progress(self, epoch: float, loss: float) -> TrainingProgress:
        steps = self.step - 1
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
