"""specHash: equal for specs that must give the same result, different where the result may differ."""

import hashlib
import json
import re
from decimal import Decimal
from typing import Any

from finetune_api.fields import DECIMAL_PATTERN
from finetune_api.spec import FinetuneSpec

VERSION = "v1"
"""Of the rules below. A new version would start every finetune anew, so there must be a way around it."""


def spec_hash(spec: FinetuneSpec) -> str:
    """Hash of model, data, loss, training, evaluation without gates, output.uri and an explicit image.

    Fields equal to their default are left out, so that an upgrade of the CRD re-trains nothing; secrets,
    resources and limits do not count.
    """
    covered = {
        "model": spec.model,
        "data": spec.data,
        "loss": spec.loss,
        "training": spec.training,
        "evaluation": spec.evaluation,
    }
    content: dict[str, Any] = {
        key: part.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        for key, part in covered.items()
    }
    content["evaluation"].pop("gates", None)
    content["outputUri"] = spec.output.uri if spec.output else ""
    content["image"] = spec.runtime.image or ""
    text = json.dumps(_canonical(content), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return f"{VERSION}:{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def _canonical(value: Any) -> Any:
    """The same number always written the same: 1, 1.0 and "1.00" are one."""
    match value:
        case dict():
            return {k: _canonical(v) for k, v in value.items() if k != "secretRef"}
        case list():
            return [_canonical(v) for v in value]
        case bool():
            return value
        case int() | float():
            return _number(repr(value))
        case str() if re.match(DECIMAL_PATTERN, value):
            return _number(value)
    return value


def _number(text: str) -> str:
    try:
        number = Decimal(text)
    except ArithmeticError:
        return text
    return str(number.normalize()) if number.is_finite() else text
