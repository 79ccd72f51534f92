"""Signatures of the library's classes, for checks that must do without the library.

Written into finetune_api by `scripts/generate --signatures`, in an environment that has the trainer.
"""

import dataclasses
import importlib
import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from importlib.metadata import version
from typing import Any

from finetune_api.loss_table import LOSSES

Kind = dict[str, Any]
LIBRARIES = ("sentence-transformers", "transformers")

_PLAIN = {int: "int", float: "float", bool: "bool", str: "str", type(None): "none", dict: "dict"}
_MODULES = {
    "Embedding": "sentence_transformer",
    "Reranker": "cross_encoder",
    "Sparse": "sparse_encoder",
    "MultiVector": "multi_vector_encoder",
}


def versions() -> dict[str, str]:
    """Of the installed libraries that the signatures come from."""
    return {name: version(name) for name in LIBRARIES}


def signatures() -> dict[str, Any]:
    """Parameters of every loss and of the training arguments, by type of model. Imports the library."""
    return {
        "versions": versions(),
        "losses": {f"{kind}.{name}": found for kind in LOSSES for name, found in _losses(kind)},
        "training": _training_by_type(),
    }


def _training_by_type() -> dict[str, Kind]:
    """What all types share by its name, what one type has beyond it as "type.name"."""
    every = {kind: _training(kind) for kind in LOSSES}
    shared = {n: k for n, k in every["Embedding"].items() if all(e.get(n) == k for e in every.values())}
    beyond = {
        f"{t}.{n}": k for t, arguments in every.items() for n, k in arguments.items() if n not in shared
    }
    return {**shared, **beyond}


def _losses(model_type: str) -> Iterator[tuple[str, dict[str, Kind]]]:
    module = importlib.import_module(f"sentence_transformers.{_MODULES[model_type]}.losses")
    from finetune_trainer.losses.named import names_of

    for name in LOSSES[model_type]:
        parameters = parameters_of(getattr(module, name).__init__)
        for parameter in parameters:
            if names := names_of(model_type, name, parameter):
                parameters[parameter] = {"choices": list(names)}
        if "pos_weight" in parameters:
            parameters["pos_weight"] = {"kinds": ["float"]}
        yield name, parameters


def _training(model_type: str) -> dict[str, Kind]:
    import sentence_transformers

    prefix = {"Embedding": "SentenceTransformer", "Reranker": "CrossEncoder", "Sparse": "SparseEncoder"}
    owner = getattr(sentence_transformers, f"{prefix.get(model_type, 'MultiVectorEncoder')}TrainingArguments")
    hints = typing.get_type_hints(owner)
    return {field.name: kind_of(hints[field.name]) for field in dataclasses.fields(owner) if field.init}


def parameters_of(function: Callable[..., Any]) -> dict[str, Kind]:
    """Name -> kind, of what can be given by keyword."""
    hints = typing.get_type_hints(function)
    named = inspect.signature(function).parameters.values()
    return {
        p.name: _as_defaulted(kind_of(hints.get(p.name, Any)), p.default)
        for p in named
        if p.name != "self" and p.kind not in {p.VAR_KEYWORD, p.VAR_POSITIONAL}
    }


def _as_defaulted(kind: Kind, default: object) -> Kind:
    """An annotation says int where the default is 10.0."""
    wrong = isinstance(default, float) and kind.get("kinds") == ["int"]
    return {"kinds": ["float"]} if wrong else kind


def kind_of(hint: Any) -> Kind:
    """What JSON may hold for this annotation; {} when JSON cannot say it: an object of Python."""
    found: Kind = {}
    for member in _members(hint):
        found = _merged(found, _one(member))
    # `SchedulerType | str` lets any text pass, although only the enumeration's are known.
    if "choices" in found and "str" in found.get("kinds", []):
        found["kinds"] = [k for k in found["kinds"] if k != "str"]
    return {} if found == {"kinds": ["none"]} else {key: value for key, value in found.items() if value}


def _merged(one: Kind, other: Kind) -> Kind:
    both = {
        key: list(dict.fromkeys([*one.get(key, []), *other.get(key, [])])) for key in ("kinds", "choices")
    }
    items = [kind["items"] for kind in (one, other) if "items" in kind]
    merged = items[0] if len(items) == 1 else _merged(*items) if items else {}
    return {key: value for key, value in {**both, "items": merged}.items() if value}


def _members(hint: Any) -> Sequence[Any]:
    union = typing.get_origin(hint) in {typing.Union, types.UnionType}
    return typing.get_args(hint) if union else [hint]


def _one(member: Any) -> Kind:
    origin, arguments = typing.get_origin(member), typing.get_args(member)
    if member in _PLAIN:
        return {"kinds": [_PLAIN[member]]}
    if origin is typing.Literal:
        return {"choices": list(arguments)}
    if inspect.isclass(member) and issubclass(member, Enum):
        return {"choices": [item.value for item in member]}
    if origin in {list, tuple, Sequence} and arguments:
        return {"items": kind_of(arguments[0])}
    if origin in {dict, Mapping}:
        return {"kinds": ["dict"]}
    return {}
