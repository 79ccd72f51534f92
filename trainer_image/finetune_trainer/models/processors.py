"""Arguments of a model's own processor: refused when it does not know them, checked to have taken effect.

Transformers accepts any keyword here and saves it with the tokenizer; a misspelt one would just do nothing.
"""

import inspect
import json
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from finetune_trainer.errors import InvalidModel, InvalidSpec

_EDGES = {"min_pixels": "shortest_edge", "max_pixels": "longest_edge"}
"""How processors that count pixels write them down: in `size`, and that is what a saved model has."""
_OF_TOKENIZERS = {"padding_side", "truncation_side"}
_OF_FILES = {"vocab", "merges", "vocab_file", "merges_file", "tokenizer_file", "self", "kwargs", "args"}
_OF_A_CALL = {"return_tensors", "data_format", "input_data_format", "device", "disable_grouping"}
_TYPED = {"model_max_length": "model.maxSeqLength", "max_seq_length": "model.maxSeqLength"}


def check_processor(path: Path, arguments: dict[str, Any], *, trusted: bool = False) -> None:
    """Raises InvalidSpec for arguments that the processor saved in `path` does not have.

    trusted: whether code that comes with it may be run.
    """
    from transformers import AutoProcessor

    for name, field in _TYPED.items():
        if name in arguments:
            raise InvalidSpec("TypedField", f"`model.processor.{name}` must be left out", f"set `{field}`")
    try:
        load: Any = AutoProcessor.from_pretrained
        processor = load(path, local_files_only=True, trust_remote_code=trusted)
    except (OSError, ValueError) as error:
        raise InvalidModel("UnreadableModel", "the model has no processor that can be loaded") from error
    known = _known_arguments(processor)
    for name in arguments:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            raise InvalidSpec(
                "UnknownArgument",
                f"`model.processor.{name}` is none of the processor's arguments: {', '.join(sorted(known))}",
                f"did you mean {close[0]!r}?" if close else "leave it out",
            )
    if arguments.get("min_pixels", 0) > arguments.get("max_pixels", float("inf")):
        raise InvalidSpec("BadArgument", "`model.processor.min_pixels` must be at most `max_pixels`")


def _known_arguments(processor: Any) -> set[str]:
    parts = [processor, getattr(processor, "tokenizer", None), getattr(processor, "image_processor", None)]
    known: set[str] = set()
    for part in parts:
        if part is not None and not hasattr(part, "tokenizer"):
            known |= set(inspect.signature(type(part).__init__).parameters)
            known |= set(getattr(getattr(part, "valid_kwargs", None), "__annotations__", {}))
            known |= _OF_TOKENIZERS if hasattr(part, "padding_side") else set()
    return known - _OF_FILES - _OF_A_CALL - set(_TYPED)


def settle_processor(processor: Any, arguments: dict[str, Any]) -> None:
    """Raises InvalidSpec when an argument has not become part of the processor, and so of the saved model.

    Bounds of pixels stand in the processor's `size` now. The tokenizer keeps them too, and would hand them to
    every call, which is deprecated.
    """
    images = getattr(processor, "image_processor", processor)
    settings = images.to_dict() if hasattr(images, "to_dict") else {}
    tokenizer = getattr(processor, "tokenizer", processor)
    for name in _EDGES:
        getattr(tokenizer, "init_kwargs", {}).pop(name, None)
    for name, value in arguments.items():
        found = _setting(name, settings, getattr(tokenizer, "init_kwargs", {}))
        if _plain(found) != _plain(value):
            raise InvalidSpec(
                "NoEffect",
                f"`model.processor.{name}` is {value!r}, but the processor ended up with {found!r}",
                "leave it out, or give it together with the arguments that it depends on",
            )


def _setting(name: str, settings: dict[str, Any], of_tokenizer: dict[str, Any]) -> Any:
    edge = _EDGES.get(name, "")
    if edge and name not in settings and edge in (settings.get("size") or {}):
        return settings["size"][edge]
    return settings.get(name, of_tokenizer.get(name))


def _plain(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
