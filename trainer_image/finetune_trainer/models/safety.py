"""Before anything of a checkpoint is loaded: nothing in it may run code, or lead out of its folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from finetune_trainer.errors import InvalidModel
from finetune_trainer.models.checkpoints import read_json
from finetune_trainer.models.weights import require_weights

_PICKLES = {
    "pytorch_model.bin": ("model.safetensors", "model.safetensors.index.json"),
    "adapter_model.bin": ("adapter_model.safetensors",),
}
"""Files that are pickles, and what the libraries read instead of them where it is there."""
_ATTENTIONS = {"eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention"}
_CODE = "RemoteCode"


def check_files(path: Path, *, trusted: bool) -> None:
    """Raises InvalidModel for weights in pickles, and for code unless it is trusted."""
    require_weights(path)
    _refuse_pickles(path)
    for file in sorted(path.rglob("*config*.json")):  # vocabularies have any word for a key
        _check_settings(file, trusted=trusted)
    if not trusted:
        _refuse_foreign_modules(path)


def refuse_links(path: Path) -> None:
    """Raises InvalidModel for a link that leads out of the model's folder; on a volume anybody sets them."""
    root = path.resolve()
    for item in path.rglob("*"):
        if item.is_symlink() and not item.resolve().is_relative_to(root):
            raise InvalidModel(
                "LinkOutOfModel",
                f"{item.relative_to(path)} of the model is a link that leads out of its folder",
                "put the file itself there",
            )


@contextmanager
def no_pickles() -> Iterator[None]:
    """Whatever a library would unpickle meanwhile is refused, whichever file it comes from."""
    import torch as library

    torch: Any = library
    load = torch.load

    def refuse(file: Any, *_: Any, **__: Any) -> Any:
        raise _pickle(Path(file).name if isinstance(file, str | Path) else "a stream")

    torch.load = refuse
    try:
        yield
    finally:
        torch.load = load


def _refuse_pickles(path: Path) -> None:
    for name, instead in _PICKLES.items():
        for file in path.rglob(name):
            if not any((file.parent / other).is_file() for other in instead):
                raise _pickle(file.relative_to(path).as_posix())


def _pickle(name: str) -> InvalidModel:
    return InvalidModel(
        "PickleWeights",
        f"the model has weights only as {name}; such files run code when they are read",
        "convert them to safetensors",
    )


def _check_settings(file: Path, *, trusted: bool) -> None:
    for key, value in _entries(read_json(file)):
        if key == "auto_map" and value and not trusted:
            raise _code(f"{file.name} of the model names code of its own (auto_map)")
        if key == "_attn_implementation_internal" or (
            key.endswith("attn_implementation") and isinstance(value, str) and value not in _ATTENTIONS
        ):
            raise InvalidModel(
                _CODE,
                f"{file.name} of the model sets {key}, which can load code from elsewhere",
                "remove it from the file",
            )


def _entries(value: Any) -> Iterator[tuple[str, Any]]:
    """Every key of a JSON value, at any depth."""
    if isinstance(value, dict):
        yield from value.items()
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _entries(part)


def _refuse_foreign_modules(path: Path) -> None:
    types = [str(m.get("type", "")) for m in read_json(path / "modules.json") or []]
    for file in path.rglob("router_config.json"):
        types += map(str, (read_json(file) or {}).get("types", {}).values())
    for name in types:
        if not name.startswith("sentence_transformers."):
            raise _code(f"the model has a module of its own, {name}")


def _code(message: str) -> InvalidModel:
    return InvalidModel(
        _CODE,
        f"{message}; to load it is to run that code",
        "take a model without, or set `model.trustRemoteCode` where the operator allows it",
    )
