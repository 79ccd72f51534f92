"""The part of a spec that decides its result, for readers of a report. Pure."""

from collections.abc import Mapping
from typing import Any

PARTS = ("model", "data", "loss", "training", "evaluation")


def recipe_of(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Of a spec; where it runs, with which Secrets, and what is empty is left out."""
    return {part: _trimmed(without_secrets(spec[part])) for part in PARTS if part in spec}


def _trimmed(content: Any) -> Any:
    """Without empty lists and mappings, which say what a field's absence says."""
    match content:
        case dict():
            trimmed = {k: _trimmed(v) for k, v in content.items()}
            return {k: v for k, v in trimmed.items() if v not in ([], {})}
        case list():
            return [_trimmed(v) for v in content]
        case _:
            return content


def without_secrets(content: Any) -> Any:
    """The same without every `secretRef`: the name of a Secret does not change what it opens."""
    match content:
        case dict():
            return {k: without_secrets(v) for k, v in content.items() if k != "secretRef"}
        case list():
            return [without_secrets(v) for v in content]
        case _:
            return content
