"""Building blocks of the models: the base class, rules that are CEL and Python at once, and field types.

A `Rule` says one thing twice: in CEL, for the API server, and in Python, for `finetune-trainer run`. The
tests hold every rule against both.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    model_validator,
)
from pydantic.alias_generators import to_camel


@dataclass(frozen=True)
class Rule:
    """One validation rule.

    cel: expression over `self`; message: what a person reads, in the form "`field` must ...";
    holds: the same in Python, given the model instance or the value.
    """

    cel: str
    message: str
    holds: Callable[[Any], bool]

    def as_schema(self) -> dict[str, str]:
        return {"rule": self.cel, "message": self.message}


class ApiModel(BaseModel):
    """Base of every model: camelCase outside, unknown fields refused, instances frozen.

    Strict, as the API server is: no number in quotes for an integer, no `true` for 1.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        strict=True,
        use_attribute_docstrings=True,
    )
    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="after")
    def _obey_rules(self) -> "ApiModel":
        for rule in self.rules:
            if not rule.holds(self):
                raise ValueError(rule.message)
        return self

    def to_dict(self) -> dict[str, Any]:
        """The model as a user writes it: camelCase, absent fields left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def ruled(*rules: Rule) -> tuple[Any, Any]:
    """Metadata for `Annotated[str, ...]` that puts rules on a single value."""

    def check(value: Any) -> Any:
        for rule in rules:
            if not rule.holds(value):
                raise ValueError(rule.message)
        return value

    validations: list[JsonValue] = [dict(r.as_schema()) for r in rules]
    return AfterValidator(check), Field(json_schema_extra={"x-kubernetes-validations": validations})


DECIMAL_PATTERN = r"^-?(0|[1-9][0-9]{0,11})(\.[0-9]{1,12})?([eE][-+]?[0-9]{1,2})?$"

IS_DECIMAL = object()
"""Marks, among a field's metadata, that its text stands for a number."""

DecimalString = Annotated[str, StringConstraints(pattern=DECIMAL_PATTERN, max_length=32), IS_DECIMAL]
"""A decimal as a string: floats differ between JSON libraries, strings do not."""

_POSITIVE = Rule("double(self) > 0.0", "must be greater than 0", lambda v: float(v) > 0)
_NOT_NEGATIVE = Rule("double(self) >= 0.0", "must not be negative", lambda v: float(v) >= 0)
_AT_MOST_ONE = Rule("double(self) <= 1.0", "must be at most 1", lambda v: float(v) <= 1)
_EPOCHS = Rule("double(self) <= 10000.0", "must be at most 10000", lambda v: float(v) <= 10_000)

PositiveDecimal = Annotated[DecimalString, *ruled(_POSITIVE, _EPOCHS)]
UnitDecimal = Annotated[DecimalString, *ruled(_NOT_NEGATIVE, _AT_MOST_ONE)]
PositiveUnitDecimal = Annotated[DecimalString, *ruled(_POSITIVE, _AT_MOST_ONE)]

Name = Annotated[str, StringConstraints(pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$", max_length=40)]
"""Name of a data set or an evaluator inside one spec."""

ObjectName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]
"""Name of another object in the finetune's namespace."""

ColumnName = Annotated[str, StringConstraints(min_length=1, max_length=128)]

Args = Annotated[
    dict[str, Any],
    Field(max_length=64, json_schema_extra={"x-kubernetes-preserve-unknown-fields": True}),
]
"""Arguments handed on as they are; the trainer checks them against the Python signature first."""


class SecretRef(ApiModel):
    """A Secret in the finetune's namespace, mounted into the pod; the operator itself never reads it."""

    name: ObjectName
    """Name of the Secret."""


# Of status, whose size is bounded.
Text = Annotated[str, StringConstraints(max_length=256)]
Message = Annotated[str, StringConstraints(max_length=1024)]
Time = Annotated[str, StringConstraints(max_length=32)]
ArtifactUri = Annotated[str, StringConstraints(max_length=384)]
Value = Annotated[str, StringConstraints(max_length=24)]
Count = Annotated[int, Field(ge=0)]
