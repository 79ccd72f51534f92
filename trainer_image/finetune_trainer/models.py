"""The model: loaded with every weight from its checkpoint, saved so that others can use it, and reloaded.

What the library does with a log line - random weights where a checkpoint has none, mean pooling for whatever
comes without - is an error here. Nothing is trained or measured.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune_api.model import Model
from finetune_api.spec import FinetuneSpec
from finetune_trainer.digests import model_digest
from finetune_trainer.errors import InvalidModel, InvalidSpec, TrainerError
from finetune_trainer.processors import check_processor, verify_processor
from finetune_trainer.storage import storage_error, storage_errors
from finetune_trainer.weights import loading_reports, refuse_missing_weights, require_weights

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = ["check_dimensions", "load_model", "model_digest", "reload_model", "save_model"]

_POOLING = {"Mean": "mean", "LastToken": "lasttoken", "Cls": "cls"}


def load_model(path: Path, spec: Model, *, seed: int) -> "SentenceTransformer":
    """The base model in float32, with the spec's prompts, processor, pooling and similarity.

    The full embedding: `truncateDim` is set when the model is saved, since the Matryoshka loss refuses
    dimensions above it. Raises InvalidModel when the checkpoint is not complete, InvalidSpec when the spec
    does not fit the model.
    """
    from transformers import set_seed

    # Before any module is built: what a checkpoint lacks with permission is the same in every run.
    set_seed(seed)
    require_weights(path)
    check_processor(path, spec.processor)
    with _unreadable_as_invalid(path), loading_reports() as reports:
        model = _load_embedder(path, spec) if (path / "modules.json").is_file() else _load_raw(path, spec)
    refuse_missing_weights(model, reports, spec.allow_missing_weights)
    verify_processor(model, spec.processor)
    _apply(model, spec)
    return model


def save_model(model: "SentenceTransformer", path: Path, spec: Model) -> None:
    """Write the model for everybody: safetensors, readable by other users, without card, texts or images."""
    full = model.truncate_dim
    model.truncate_dim = spec.truncate_dim
    try:
        with storage_errors("saving the model"):
            model.save_pretrained(str(path), create_model_card=False, safe_serialization=True)
            _open_to_all(path)
    finally:
        model.truncate_dim = full


def reload_model(path: Path, spec: Model) -> "SentenceTransformer":
    """A saved model as its users will load it, but for the full embedding: evaluation slices it itself."""
    with _unreadable_as_invalid(path), loading_reports() as reports:
        model = _load_saved(path, {})
    refuse_missing_weights(model, reports, [])
    model.truncate_dim = None
    similarity: Any = spec.similarity_name
    model.similarity_fn_name = similarity
    return model


def check_dimensions(model: "SentenceTransformer", spec: FinetuneSpec) -> None:
    """Raises InvalidSpec when the spec asks for more dimensions than the model has."""
    full = model.get_embedding_dimension() or 0
    asked = {"model.truncateDim": spec.model.truncate_dim or 0}
    asked["loss.matryoshkaDims"] = max(spec.loss.matryoshka_dims or [0])
    for field, dimensions in asked.items():
        if dimensions > full:
            raise InvalidSpec(
                "DimensionTooLarge",
                f"`{field}` must be at most the model's {full} dimensions, found {dimensions}",
                f"take {full} or less",
            )


def _load_saved(path: Path, processor: dict[str, Any]) -> "SentenceTransformer":
    import torch
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(
        str(path),
        local_files_only=True,
        trust_remote_code=False,
        model_kwargs={"dtype": torch.float32, "use_safetensors": True},
        processor_kwargs=processor,
    )


def _load_embedder(path: Path, spec: Model) -> "SentenceTransformer":
    model = _load_saved(path, dict(spec.processor))
    saved = [m.pooling_mode for m in model if type(m).__name__ == "Pooling"]
    if spec.pooling is not None and saved != [_POOLING[spec.pooling]]:
        raise InvalidSpec(
            "PoolingGiven",
            f"`model.pooling` must be left out for an embedding model; found {spec.pooling}, the model has"
            f" {', '.join(map(str, saved)) or 'none'}",
            "leave out `model.pooling`",
        )
    return model


def _load_raw(path: Path, spec: Model) -> "SentenceTransformer":
    """An embedding model around a checkpoint that is none yet: pooling as the spec says, then unit length."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import (
        Normalize,
        Pooling,
        Transformer,
    )

    if spec.pooling is None:
        raise InvalidModel(
            "NoPooling",
            "the model is not an embedding model yet (it has no modules.json), so `model.pooling` must say"
            " how token vectors become one",
            "set `model.pooling` to Mean, LastToken or Cls, or take an embedding model",
        )
    transformer = Transformer(
        str(path),
        model_kwargs={"dtype": torch.float32, "use_safetensors": True, "local_files_only": True},
        processor_kwargs={**spec.processor, "local_files_only": True},
        config_kwargs={"local_files_only": True},
    )
    if transformer.module_output_name != "token_embeddings":
        raise InvalidModel(
            "NoTokenVectors", "the model gives no vector per token, so there is nothing to pool"
        )
    pooling = Pooling(transformer.get_embedding_dimension(), _POOLING[spec.pooling])
    return SentenceTransformer(modules=[transformer, pooling, Normalize()])


@contextmanager
def _unreadable_as_invalid(path: Path) -> Iterator[None]:
    """Whatever the libraries raise over a checkpoint they cannot use becomes InvalidModel."""
    try:
        with storage_errors("reading the model"):
            yield
    except (TrainerError, MemoryError):
        raise
    except Exception as error:
        from torch import OutOfMemoryError

        if isinstance(error, OutOfMemoryError) or storage_error(error):
            raise
        text = str(error).replace(str(path), "the model").strip().split("\n")[0][:300]
        raise InvalidModel(
            "UnreadableModel",
            f"the model cannot be loaded ({type(error).__name__}: {text})",
            "check the checkpoint",
        ) from error


def _apply(model: "SentenceTransformer", spec: Model) -> None:
    model.float()
    model.truncate_dim = None
    similarity: Any = spec.similarity_name
    model.similarity_fn_name = similarity
    if spec.prompts is not None:
        model.prompts = {**model.prompts, "query": spec.prompts.query, "document": spec.prompts.document}
    if spec.max_seq_length is not None:
        _refuse_beyond_positions(model, spec.max_seq_length)
        model.max_seq_length = spec.max_seq_length


def _refuse_beyond_positions(model: "SentenceTransformer", length: int) -> None:
    config = getattr(model.transformers_model, "config", None)
    positions = getattr(getattr(config, "text_config", config), "max_position_embeddings", None)
    if isinstance(positions, int) and 0 < positions < length:
        raise InvalidSpec(
            "SequenceTooLong",
            f"`model.maxSeqLength` must be at most the model's {positions} positions, found {length}",
            f"take {positions} or less",
        )


def _open_to_all(path: Path) -> None:
    """Weights are written for their owner alone; another user serves them from the same volume."""
    for item in [path, *path.rglob("*")]:
        item.chmod(0o755 if item.is_dir() else 0o644)
