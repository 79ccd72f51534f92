"""Models that guide a loss: fetched like the base model, loaded when training begins, and never trained."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from finetune_api.arguments import losses_of
from finetune_api.model import Model
from finetune_api.spec import FinetuneSpec
from finetune_trainer.models import load_model
from finetune_trainer.places import Places
from finetune_trainer.sources.fetch import fetch_model

if TYPE_CHECKING:
    from finetune_trainer.models.kinds import AnyModel


def fetch_guides(spec: FinetuneSpec, places: Places) -> dict[str, Path]:
    """Folder of each guide that a loss of the spec names, by its URI."""
    guides = [loss.guide for _, loss, _ in losses_of(spec) if loss.guide is not None]
    models = {guide.uri: Model(uri=guide.uri, secret_ref=guide.secret_ref) for guide in guides}
    return {uri: fetch_model(model, places).path for uri, model in models.items()}


def load_guides(folders: Mapping[str, Path], spec: FinetuneSpec) -> "dict[str, AnyModel]":
    """The guides as they were saved, by their URI. Raises InvalidModel for what cannot be loaded."""
    loaded = {uri: load_model(path, Model(uri=uri), seed=spec.training.seed) for uri, path in folders.items()}
    for guide in loaded.values():
        guide.eval().requires_grad_(False)
    return loaded
