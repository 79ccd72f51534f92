"""Amounts as Kubernetes writes them: 500m, 2, 16Gi."""

from typing import Annotated

from pydantic import Field, StringConstraints, WithJsonSchema

QUANTITY_PATTERN = r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$"
MAX_WHOLE_QUANTITY = 2**53
"""Beyond it JSON readers differ; no node has as many bytes."""
QuantityText = Annotated[str, StringConstraints(pattern=QUANTITY_PATTERN, max_length=24)]
Quantity = Annotated[
    Annotated[int, Field(ge=0, le=MAX_WHOLE_QUANTITY)] | QuantityText,
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "minimum": 0,
            "maximum": MAX_WHOLE_QUANTITY,
            "pattern": QUANTITY_PATTERN,
            "maxLength": 24,
        }
    ),
]
