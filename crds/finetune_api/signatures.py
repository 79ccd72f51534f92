"""Signatures of the library's classes, as `scripts/generate` found them, and values against them."""

import json
import math
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Any, Literal, Union

from pydantic import TypeAdapter, ValidationError

from finetune_api.argument_tables import ABOVE_ZERO, BOUNDS
from finetune_api.refusals import Refused

FILE = "signatures.json"
Kind = Mapping[str, Any]
"""What JSON may hold for a parameter: `kinds` of plain values, `choices` of texts, `items` of a list."""

_PLAIN: dict[str, Any] = {
    "int": int, "float": float, "bool": bool, "str": str, "none": None, "dict": dict[str, Any],
}  # fmt: skip


@cache
def signatures() -> dict[str, Any]:
    """The whole file: `versions`; `losses`, by "<type of model>.<class>"; `training`, those of one type of
    model as "<type>.<argument>".
    """
    content: dict[str, Any] = json.loads((files("finetune_api") / FILE).read_text())
    return content


def loss_parameters(model_type: str, loss: str) -> dict[str, Kind]:
    """Name -> kind, of every parameter."""
    parameters: dict[str, Kind] = signatures()["losses"][f"{model_type}.{loss}"]
    return parameters


def training_parameters(model_type: str) -> dict[str, Kind]:
    """Name -> kind, of every argument of this type's trainer."""
    known: dict[str, Kind] = signatures()["training"]
    own = {name.removeprefix(f"{model_type}."): kind for name, kind in known.items()}
    return {name: kind for name, kind in own.items() if "." not in name}


def check_value(field: str, name: str, value: Any, kind: Kind) -> None:
    """Raises Refused unless the value is of the kind, finite, and within the bounds of `name`."""
    if not _all_finite(value):
        raise Refused("BadArgument", f"`{field}` must hold finite numbers, found {value!r}", "correct it")
    try:
        _adapter(json.dumps(kind)).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        raise Refused(
            "BadArgument", f"`{field}` must be {kind_text(kind)}, found {value!r:.80}", _nearest(value, kind)
        ) from error
    if isinstance(value, int | float) and not isinstance(value, bool):
        _check_bounds(field, name, value)


def _nearest(value: Any, kind: Kind) -> str:
    close = get_close_matches(str(value), kind.get("choices", []), n=1)
    return f"did you mean {close[0]!r}?" if close else "correct it"


def _check_bounds(field: str, name: str, value: float) -> None:
    low, high = BOUNDS.get(name, (None, None))
    if low is not None and (value < low or (value == 0 and name in ABOVE_ZERO)):
        least = f"above {low}" if name in ABOVE_ZERO else f"at least {low}"
        raise Refused("BadArgument", f"`{field}` must be {least}, found {value}", "correct it")
    if high is not None and value > high:
        raise Refused("BadArgument", f"`{field}` must be at most {high}, found {value}", "correct it")


def _all_finite(value: Any) -> bool:
    match value:
        case float():
            return math.isfinite(value)
        case dict():
            return all(_all_finite(v) for v in value.values())
        case list():
            return all(_all_finite(v) for v in value)
        case _:
            return True


@cache
def _adapter(kind: str) -> TypeAdapter[Any]:
    return TypeAdapter(_annotation(json.loads(kind)))


def _annotation(kind: Kind) -> Any:
    members = [_PLAIN[name] for name in kind.get("kinds", [])]
    if "choices" in kind:
        members.append(Literal[tuple(kind["choices"])])
    if "items" in kind:
        members.append(list[_annotation(kind["items"])])  # type: ignore[misc]
    return Union[tuple(members)] if members else Any  # noqa: UP007 - of a tuple


_WORDS = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text",
          "dict": "an object"}  # fmt: skip


def kind_text(kind: Kind) -> str:
    """For people: `a whole number or null`, `'joint' or 'per_direction'`."""
    parts = [repr(choice) for choice in kind.get("choices", [])]
    parts += [_WORDS[name] for name in kind.get("kinds", []) if name != "none"]
    if "items" in kind:
        parts.append(f"a list of ({kind_text(kind['items'])})")
    return " or ".join([*parts, *(["null"] if "none" in kind.get("kinds", []) else [])])


def unknown(field: str, name: str, known: Collection[str], owner: str) -> Refused:
    """An argument that `owner` does not have, with the one that was perhaps meant."""
    close = get_close_matches(name, sorted(known), n=1)
    others = (
        f"leave it out; there are {', '.join(sorted(known))}" if known else "leave it out; there are none"
    )
    return Refused(
        "UnknownArgument",
        f"`{field}` is no argument of {owner}",
        f"did you mean {close[0]!r}?" if close else others,
    )
