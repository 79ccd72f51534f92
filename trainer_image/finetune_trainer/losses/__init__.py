"""Losses: which one a train set gets, whether it fits, and the library's object for it."""

from finetune_trainer.losses.build import build_loss, set_activation
from finetune_trainer.losses.choice import choose_by_data, choose_loss
from finetune_trainer.losses.chosen import ChosenLoss, ModelFacts, model_facts
from finetune_trainer.losses.labels import prepare_rows
from finetune_trainer.losses.memory import choose_mini_batch_size

__all__ = [
    "ChosenLoss",
    "ModelFacts",
    "build_loss",
    "choose_by_data",
    "choose_loss",
    "choose_mini_batch_size",
    "model_facts",
    "prepare_rows",
    "set_activation",
]
