"""The library's trainers as they are used here: without its records, and with checkpoints of our own."""

from collections.abc import Iterable, Sequence
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
from finetune_trainer.checkpoints.manifest import Checkpoint
from finetune_trainer.data.lists import ListCollator
from finetune_trainer.training.batches import MakeSampler
from finetune_trainer.training.resuming import optimizer_state, restore_random_state

if TYPE_CHECKING:
    from sentence_transformers.base.trainer import BaseTrainer as _Trainer
else:
    _Trainer = object


class Quiet(_Trainer):
    """What the library's four trainers do here: no model card, which would read all data again and keep
    examples of it; batches from samplers of our own.

    last_loss: of the latest step, (), on the model's device. resumed: the checkpoint that it goes on from.
    """

    last_loss: torch.Tensor
    resumed: Checkpoint | None = None

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

    @property
    def trained_modules(self) -> dict[str, torch.nn.Module]:
        """The model, and losses: some have weights of their own."""
        mine: Any = self
        model, losses = mine.model, mine.loss if isinstance(mine.loss, dict) else {"": mine.loss}
        return {"model": model, **{f"loss {name}".strip(): loss for name, loss in losses.items()}}

    @override
    def _load_from_checkpoint(self, *_: Any, **__: Any) -> None:
        """The weights are in place before `train` is called."""

    @override
    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        """From our own files: the library's are pickles."""
        if self.resumed is not None:
            mine: Any = self
            optimizer, scheduler = optimizer_state(self.resumed)
            mine.optimizer.load_state_dict(optimizer)
            mine.lr_scheduler.load_state_dict(scheduler)

    @override
    def _load_rng_state(self, checkpoint: str | None) -> None:
        """Called when the batches of the step that follows are drawn."""
        if self.resumed is not None:
            restore_random_state(self.resumed)

    @override
    def _load_scaler(self, checkpoint: str | None) -> None:
        """There is none: half precision is refused."""

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
