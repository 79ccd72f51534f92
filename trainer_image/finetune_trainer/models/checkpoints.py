"""What a folder with a checkpoint is, read from its JSON files alone."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune_api.model import ModelType
from finetune_trainer.errors import InvalidModel
from finetune_trainer.models.kinds import TYPES, named

_NEW_LAYER = {
    "Embedding": "model.pooling",
    "Reranker": "model.head",
    "Sparse": "model.dense",
    "MultiVector": "model.dense",
}
"""The field that asks for new layers, and so for a model of this type on whatever encoder there is."""


@dataclass(frozen=True)
class Checkpoint:
    """A folder with weights.

    type: what it is as it stands; None for a raw checkpoint, which is an encoder without more.
    architecture: class of transformers, "" where the folder names none. has_modules: saved by the library.
    encoder: folder of its Transformer, relative; None when it has none.
    """

    path: Path
    type: ModelType | None
    architecture: str
    has_modules: bool
    encoder: str | None

    @property
    def is_decoder(self) -> bool:
        return self.architecture.endswith(("ForCausalLM", "ForConditionalGeneration"))

    @property
    def has_masked_language_head(self) -> bool:
        return self.architecture.endswith("ForMaskedLM")

    @property
    def encoder_path(self) -> Path:
        """Folder of the encoder alone. Raises InvalidModel when there is none to build upon."""
        if self.encoder is None:
            raise InvalidModel(
                "NoEncoder",
                "the model has no Transformer module of its own, so no new layer can be built upon it",
                "take a raw checkpoint, or a model with one encoder",
            )
        return self.path / self.encoder

    def is_ready_as(self, wanted: ModelType, *, new_layers: bool) -> bool:
        """Whether it is taken as it stands; else its encoder gets new layers.

        Raises InvalidModel for a model of another type, unless the spec asks for new layers.
        """
        if self.type == wanted:
            return True
        if self.type is None or new_layers:
            return False
        raise InvalidModel(
            "WrongType",
            f"the checkpoint is {named(self.type)}, but `model.type` is {wanted}",
            f"set `model.type` to {self.type}, or set `{_NEW_LAYER[wanted]}` to build {named(wanted)} on its"
            " encoder",
        )


def read_checkpoint(path: Path) -> Checkpoint:
    """Raises InvalidModel when its JSON cannot be read."""
    modules: Any = read_json(path / "modules.json")
    encoder = _encoder(modules)
    config = read_json(path / (encoder or "") / "config.json") or {}
    architecture = str((config.get("architectures") or [""])[0])
    return Checkpoint(path, _type(path, modules, architecture), architecture, bool(modules), encoder)


def read_json(path: Path) -> Any:
    """None where there is no such file."""
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise InvalidModel(
            "UnreadableModel", f"{path.name} of the model is no JSON: {error}", "check the checkpoint"
        ) from error


def _encoder(modules: Any) -> str | None:
    if not modules:
        return ""
    first = modules[0]
    return str(first["path"]) if str(first["type"]).endswith("Transformer") else None


def _type(path: Path, modules: Any, architecture: str) -> ModelType | None:
    settings = read_json(path / "config_sentence_transformers.json") or {}
    if modules:
        return TYPES.get(str(settings.get("model_type", "SentenceTransformer")), "Embedding")
    if architecture.endswith("ForSequenceClassification"):
        return "Reranker"
    if architecture == "HF_ColBERT" or architecture.endswith("ForRetrieval"):
        return "MultiVector"
    return None
