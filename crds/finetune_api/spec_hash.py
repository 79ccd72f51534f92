"""specHash: equal for specs that must give the same result, different where the result may differ."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, get_args

from pydantic.fields import FieldInfo

from finetune_api.evaluation import Gate, MetricReference
from finetune_api.fields import IS_DECIMAL, ApiModel
from finetune_api.model import Model
from finetune_api.spec import FinetuneSpec

VERSION = "v1"
"""Of the rules below. A new version would start every finetune anew, so there must be a way around it."""


def spec_hash(spec: FinetuneSpec) -> str:
    """Hash of model, data, loss, training, evaluation without gates, output.uri, an explicit image, rerun.

    Fields equal to their default are left out, so that an upgrade of the CRD re-trains nothing; secrets,
    resources and limits do not count.
    """
    parts = {
        "model": _as_usual(spec.model),
        "data": spec.data,
        "loss": spec.loss,
        "training": spec.training,
        "evaluation": spec.evaluation,
    }
    content: dict[str, Any] = {key: _canonical(part) for key, part in parts.items()}
    content["evaluation"].pop("gates", None)
    for reference, said in _metric_references(spec, content):
        if said.get("metric") == spec.evaluation.headline(reference.evaluator):
            del said["metric"]
    content["outputUri"] = spec.output.uri if spec.output else ""
    content["image"] = spec.runtime.image or ""
    if spec.rerun:
        content["rerun"] = spec.rerun
    return _hash(content)


def gates_hash(gates: Sequence[Gate]) -> str:
    """Equal for gates that let the same results pass."""
    return _hash(_canonical(list(gates)))


def _hash(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return f"{VERSION}:{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def _metric_references(spec: FinetuneSpec, content: dict[str, Any]) -> Iterator[tuple[MetricReference, Any]]:
    """What reads a metric, with its canonical form: the headline said is the headline left out."""
    yield spec.evaluation.primary, content["evaluation"]["primary"]
    if spec.training.selection is not None:
        yield spec.training.selection, content["training"]["selection"]


def _as_usual(model: Model) -> Model:
    """The similarity that follows from the type says nothing, as if it were a default."""
    unsaid = model.model_copy(update={"similarity": None})
    return unsaid if unsaid.similarity_name == model.similarity_name else model


def _canonical(value: Any) -> Any:
    """Models without what equals its default; the same number always written the same."""
    match value:
        case ApiModel():
            return _beyond_defaults(value)
        case dict():
            return {k: _canonical(v) for k, v in value.items()}
        case list():
            return [_canonical(v) for v in value]
        case int() | float() if not isinstance(value, bool):
            return {"$number": _number(repr(value))}  # 1 and "1" are two arguments
        case _:
            return value


def _beyond_defaults(model: ApiModel) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for name, field in type(model).model_fields.items():
        value = _field_value(getattr(model, name), field)
        default = _field_value(field.get_default(call_default_factory=True), field)
        if name != "secret_ref" and value != default:
            said[name] = value
    return said


def _field_value(value: Any, field: FieldInfo) -> Any:
    """A typed decimal counts as its number, any other text as it stands: a column may be called 1.0."""
    return _number(value) if isinstance(value, str) and _is_decimal(field) else _canonical(value)


def _is_decimal(field: FieldInfo) -> bool:
    """Of an optional one the annotation says so."""
    inside = (getattr(part, "__metadata__", ()) for part in get_args(field.annotation))
    return IS_DECIMAL in field.metadata or any(IS_DECIMAL in metadata for metadata in inside)


def _number(text: str) -> str:
    number = Decimal(text)
    return str((number + 0).normalize()) if number.is_finite() else text  # + 0: no negative zero
