"""Reads a spec as a person has it: a whole EmbeddingFinetune manifest, or its `spec` alone.

Every complaint is one line that begins with the YAML path, in the words of the field's own rule.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from finetune_api import names
from finetune_api.spec import FinetuneSpec
from finetune_trainer.errors import InvalidSpec
from finetune_trainer.local.scalars import YamlError, load_documents

_MANIFEST_KEYS = {"apiVersion", "kind", "metadata", "spec", "status"}
_MOST_LINES = 20


@dataclass(frozen=True)
class SpecFile:
    """A spec with the names of its manifest; those of a bare spec are None."""

    spec: FinetuneSpec
    name: str | None
    namespace: str | None


def read_spec(path: Path) -> SpecFile:
    """Raises InvalidSpec, with a line for every mistake."""
    try:
        documents = load_documents(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSpec("UnreadableSpec", f"{path} cannot be read: {error}", "name a YAML file") from error
    except YamlError as error:
        raise InvalidSpec("InvalidYaml", f"{path}: {error}", "correct the file") from error
    if len(documents) != 1:
        raise InvalidSpec(
            "NotOneSpec",
            f"{path} must hold one spec, found {len(documents)} documents",
            "put each finetune into a file of its own",
        )
    document = documents[0]
    if not isinstance(document, dict):
        raise InvalidSpec("NotOneSpec", f"{path} must hold a mapping, found {type(document).__name__}")
    return _parse_manifest(document) if {"kind", "apiVersion"} & set(document) else _parse_bare(document)


def _parse_bare(document: Mapping[str, Any]) -> SpecFile:
    is_wrapped = set(document) <= _MANIFEST_KEYS and "spec" in document
    spec = document["spec"] if is_wrapped else document
    return SpecFile(_validated(spec, "spec" if is_wrapped else ""), None, None)


def _parse_manifest(document: Mapping[str, Any]) -> SpecFile:
    for key, wanted in (("apiVersion", names.API_VERSION), ("kind", names.KIND)):
        if document.get(key) != wanted:
            raise InvalidSpec("NotAFinetune", f"`{key}` must be {wanted}, found {document.get(key)!r}")
    if unknown := sorted(set(document) - _MANIFEST_KEYS):
        raise InvalidSpec("InvalidSpec", f"`{unknown[0]}` is no field of a manifest", "leave it out")
    metadata = document.get("metadata")
    metadata = metadata if isinstance(metadata, Mapping) else {}
    name, namespace = metadata.get("name"), metadata.get("namespace")
    return SpecFile(
        _validated(document.get("spec"), "spec"),
        name if isinstance(name, str) else None,
        namespace if isinstance(namespace, str) else None,
    )


def _validated(spec: object, root: str) -> FinetuneSpec:
    try:
        return FinetuneSpec.model_validate(spec)
    except ValidationError as error:
        lines = [_line(e, root) for e in error.errors(include_url=False)]
        more = [f"and {len(lines) - _MOST_LINES} more"] if len(lines) > _MOST_LINES else []
        message = "\n".join([*lines[:_MOST_LINES], *more])
        raise InvalidSpec("InvalidSpec", message, "correct the spec") from error


def _line(error: Any, root: str) -> str:
    """`spec.training.epochs: must ...`, found and wanted."""
    path = _path([root, *error["loc"]] if root else error["loc"])
    match error["type"]:
        case "missing":
            return f"{path}: is required"
        case "extra_forbidden":
            return f"{path}: is no field here; leave it out, or check how it is written"
        case "value_error":
            return f"{path}: {error['ctx']['error']}"
        case "string_type":
            return f"{path}: must be a text, found {_shown(error['input'])}; put it into quotes"
        case _:
            return f"{path}: {_wanted(error['msg'])}, found {_shown(error['input'])}"


def _path(parts: Any) -> str:
    path = ""
    for part in parts:
        path += f"[{part}]" if isinstance(part, int) else f"{'.' if path else ''}{part}"
    return path or "spec"


def _wanted(message: str) -> str:
    """Pydantic's wording turned into ours: "Input should be ..." is "must be ..."."""
    return re.sub(r"^[A-Z]\w+ should ", "must ", message)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
