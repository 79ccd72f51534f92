"""Specs for tests: one that is right, and copies with a part changed."""

import copy
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from finetune_api import API_VERSION, KIND, FinetuneSpec

ROOT = Path(__file__).parents[2]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
DIGEST = f"sha256:{'0123456789abcdef' * 4}"
ABSENT: Any = object()
"""As a value: the part is left out."""

PAIRS = {"uri": "pvc://data/pairs", "columns": {"query": "question", "positive": "answer"}}
TABLE = {"uri": "pvc://data/table", "id": "id", "input": "text"}
QRELS = {"uri": "pvc://data/qrels.csv", "query": "query", "document": "document"}
JUDGED = {"queries": TABLE, "corpus": TABLE, "qrels": QRELS}


def a_spec(changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """A spec that is right, with `changes`: dotted path to value, list items by number.

    A reranker is measured by the evaluator that it can have, unless the changes name one.
    """
    spec: dict[str, Any] = {
        "model": {"uri": f"hf://owner/model@{COMMIT}"},
        "data": {
            "train": [{"name": "train", **copy.deepcopy(PAIRS)}],
            "eval": [{"name": "dev", **copy.deepcopy(PAIRS)}, {"name": "test", **copy.deepcopy(JUDGED)}],
        },
        "evaluation": {
            "evaluators": [{"name": "dev", "data": "dev"}, {"name": "test", "data": "test"}],
            "primary": {"evaluator": "test"},
            "gates": [{"evaluator": "test", "minimum": "0.5", "minimumGain": "0"}],
        },
        "output": {"uri": "pvc://models/one"},
    }
    for path, value in (changes or {}).items():
        _set(spec, path.split("."), value if value is ABSENT else copy.deepcopy(value))
    if changes and changes.get("model.type") == "Reranker":
        for evaluator in spec["evaluation"]["evaluators"]:
            evaluator.setdefault("type", "Reranking")
    return spec


def _set(spec: Any, path: list[str], value: Any) -> None:
    *parents, last = (int(part) if part.isdigit() else part for part in path)
    for part in parents:
        spec = spec.setdefault(part, {}) if isinstance(spec, dict) else spec[part]
    if value is ABSENT:
        del spec[last]
    elif isinstance(spec, list) and last == len(spec):
        spec.append(value)
    else:
        spec[last] = value


def a_finetune(spec: dict[str, Any], name: str = "one") -> dict[str, Any]:
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec}


def refusal(spec: dict[str, Any]) -> str | None:
    """What the models say against the spec; None when they accept it."""
    try:
        FinetuneSpec.model_validate(spec)
    except ValidationError as error:
        return str(error)
    return None
