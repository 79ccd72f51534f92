"""What a model's files say without its weights: what it can read, and how large it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finetune_api.uris import HfUri, OciUri, StoreUri, parse_uri
from finetune_trainer.errors import InvalidModel
from finetune_trainer.models.checkpoints import Checkpoint, read_checkpoint, read_json
from finetune_trainer.models.kinds import named
from finetune_trainer.models.safety import check_files
from finetune_trainer.places import Places
from finetune_trainer.sources.artifact_sources import fetch_artifact_settings
from finetune_trainer.sources.fetch import fetch_model
from finetune_trainer.sources.hub import hub_errors, open_hub
from finetune_trainer.sources.hub_sources import hub_cache
from finetune_trainer.sources.model_names import MODEL_FILES, NOT_MODEL_FILES
from finetune_trainer.sources.store_sources import fetch_stored_settings

_WEIGHTS = "*.safetensors"
_OF_PROCESSORS = ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json")
_MODALITIES = {
    "tokenizer": "text",
    "image_processor": "image",
    "feature_extractor": "audio",
    "video_processor": "video",
}


@dataclass(frozen=True)
class ModelFiles:
    """modalities: what its processors read, None where no processor tells; size: bytes of the weights.

    checkpoint: what it is; module_types: classes of the library's modules, "" before the library saved it;
    outputs: scores that it gives for a pair, if it is a reranker.
    """

    modalities: tuple[str, ...] | None
    size: int
    checkpoint: Checkpoint
    module_types: tuple[str, ...]
    outputs: int

    def in_words(self) -> str:
        what = named(self.checkpoint.type) if self.checkpoint.type else "a raw checkpoint"
        reads = f"reads {', '.join(self.modalities)}" if self.modalities else "what it reads shows on loading"
        return f"{what}, {_size_in_words(self.size)} of weights; {reads}"


@dataclass(frozen=True)
class Readable:
    """Stands for a model where only the question is what it reads."""

    modalities: tuple[str, ...]

    @classmethod
    def of_all(cls, models: Sequence[ModelFiles]) -> "Readable | None":
        """Of encoders together; None where one of them does not tell."""
        if any(m.modalities is None for m in models):
            return None
        return cls(tuple(dict.fromkeys(kind for m in models for kind in m.modalities or ())))

    def supports(self, modality: object) -> bool:
        kinds = modality if isinstance(modality, tuple) else (modality,)
        return set(kinds) <= set(self.modalities)


def read_model_files(model: Any, places: Places, *, trusted: bool = False) -> ModelFiles:
    """Of anything with `uri` and `secret_ref`. Raises InvalidModel without weights as safetensors."""
    uri = parse_uri(model.uri)
    match uri:
        case HfUri():
            folder, size = _of_hub(uri, places.token(model.secret_ref), places)
        case StoreUri():
            folder, size = fetch_stored_settings(uri, places.secret(model.secret_ref), places)
        case OciUri():
            folder, size = fetch_artifact_settings(uri, places.secret(model.secret_ref), places)
        case _:
            folder = fetch_model(model, places, trusted=trusted).path
            size = sum(p.stat().st_size for p in folder.rglob(_WEIGHTS))
    if not size:
        raise InvalidModel(
            "NoSafetensors",
            f"{model.uri} must have its weights as safetensors, found none",
            "convert the checkpoint: `save_pretrained` writes them",
        )
    if not isinstance(uri, HfUri | StoreUri | OciUri):
        check_files(folder, trusted=trusted)
    return ModelFiles(
        _modalities_of(folder), size, read_checkpoint(folder), _module_types(folder), _outputs(folder)
    )


def _module_types(folder: Path) -> tuple[str, ...]:
    modules: Any = read_json(folder / "modules.json") or []
    return tuple(str(module.get("type", "")).rpartition(".")[2] for module in modules)


def _outputs(folder: Path) -> int:
    """As a classifier's configuration counts them."""
    config: Any = read_json(folder / "config.json") or {}
    return len(config.get("id2label") or [None])


def _of_hub(uri: HfUri, token: str | None, places: Places) -> tuple[Path, int]:
    """Everything but the weights, and how large those are."""
    with hub_errors(uri):
        api = open_hub(token)
        info = api.model_info(uri.repository, revision=uri.commit, files_metadata=True)
        files = info.siblings or []
        size = sum(f.size or 0 for f in files if f.rfilename.endswith(".safetensors"))
        folder = api.snapshot_download(
            uri.repository,
            revision=uri.commit,
            cache_dir=hub_cache(places),
            allow_patterns=[p for p in MODEL_FILES if p != _WEIGHTS],
            ignore_patterns=NOT_MODEL_FILES,
        )
    return Path(folder), size


def _modalities_of(folder: Path) -> tuple[str, ...] | None:
    found: list[str] = []
    for part in sorted({f.parent for name in _OF_PROCESSORS for f in folder.rglob(name)}):
        found += _of_processor(part)
    return tuple(dict.fromkeys(found)) or None


def _of_processor(folder: Path) -> list[str]:
    from transformers import AutoProcessor

    load: Any = AutoProcessor.from_pretrained
    try:
        processor = load(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise InvalidModel(
            "UnreadableModel",
            f"the model's processor cannot be loaded ({str(error)[:200]})",
            "check the files",
        ) from error
    if hasattr(processor, "get_attributes"):
        return [kind for name, kind in _MODALITIES.items() if name in processor.get_attributes()]
    names = {c.__name__ for c in type(processor).__mro__}
    signs = {
        "PreTrainedTokenizerBase": "text", "BaseVideoProcessor": "video",
        "FeatureExtractionMixin": "audio", "ImageProcessingMixin": "image",
    }  # fmt: skip
    return [next(kind for name, kind in signs.items() if name in names)] if names & set(signs) else []


def _size_in_words(size: int) -> str:
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000  # type: ignore[assignment]
    return f"{size:.1f} GB"
