"""Models on a disk, as their users get them."""

from pathlib import Path
from shutil import copyfile
from typing import TYPE_CHECKING, Any

from finetune_api.model import Model
from finetune_trainer.models.lora import has_adapters, merge_adapters, name_base
from finetune_trainer.storage import storage_errors

if TYPE_CHECKING:
    from finetune_trainer.models.kinds import AnyModel


def save_model(model: "AnyModel", path: Path, spec: Model) -> None:
    """Write the model for everybody: safetensors, readable by other users, without card, texts or images.

    Adapters are merged into the weights first, unless the spec publishes them alone.
    """
    any_model: Any = model
    if has_adapters(model) and spec.lora is not None and spec.lora.publish == "Merged":
        merge_adapters(model)
    full = getattr(any_model, "truncate_dim", None)
    if spec.type == "Embedding":
        any_model.truncate_dim = spec.truncate_dim
    _forget_last_call(model)
    try:
        with storage_errors("saving the model"):
            any_model.save_pretrained(str(path), create_model_card=False, safe_serialization=True)
            if has_adapters(model):
                name_base(path, spec)
            _bring_code_to_root(path)
            _open_to_all(path)
    finally:
        if spec.type == "Embedding":
            any_model.truncate_dim = full


def _forget_last_call(model: "AnyModel") -> None:
    """Tokenizers keep the length of their last call and would save it: reloaded, a processor of texts and
    sounds would cut sounds at it.
    """
    for module in model.modules():
        tokenizer: Any = getattr(getattr(module, "tokenizer", None), "backend_tokenizer", None)
        if tokenizer is not None:
            tokenizer.no_truncation()
            tokenizer.no_padding()


def _bring_code_to_root(path: Path) -> None:
    """Code of a trusted model is saved beside its module, but looked for in the model's own folder."""
    for file in path.glob("*/*.py"):
        copyfile(file, path / file.name)


def _open_to_all(path: Path) -> None:
    """Weights are written for their owner alone; another user serves them from the same volume."""
    for item in [path, *path.rglob("*")]:
        item.chmod(0o755 if item.is_dir() else 0o644)
