"""What pods post: the wire format of Kubeflow Trainer's status server, and beside it our final Report."""

from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel

from finetune_api.report import Report

# Above it, JSON numbers are no longer exact, and the API server refuses them in a status.
MAX_COUNT = 2**53

Short = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class Malformed(Exception):
    """The body is not what is understood; the message says where."""


class Wire(BaseModel):
    """Unknown fields are ignored: clients may be newer."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True, extra="ignore")


class WireMetric(Wire):
    name: Short
    value: Short


class TrainerStatus(Wire):
    """Progress, as Kubeflow Trainer writes it."""

    progress_percentage: Annotated[int, Field(ge=0, le=100)] | None = None
    estimated_remaining_seconds: Annotated[int, Field(ge=0)] | None = None
    metrics: Annotated[list[WireMetric], Field(max_length=256)] = []
    last_updated_time: AwareDatetime

    def value(self, name: str) -> str | None:
        return next((metric.value for metric in self.metrics if metric.name == name), None)

    def count(self, name: str) -> int | None:
        """The metric as a whole number, rounded down; None when it is absent or no count."""
        number = _number(self.value(name))
        return int(number) if number is not None and 0 <= number <= MAX_COUNT else None

    def decimal(self, name: str) -> str | None:
        """The metric as text. A loss that is not a number is worth showing: `nan` and `inf` stay."""
        number = _number(self.value(name))
        return None if number is None else f"{number:.6g}"


class Body(Wire):
    """A POST: progress, the final Report, both, or (as there) nothing."""

    trainer_status: TrainerStatus | None = None
    report: Report | None = None


def parse_body(content: bytes) -> Body:
    """Raises Malformed."""
    try:
        return Body.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "body"
        raise Malformed(f"{where}: {first['msg']}") from error


def _number(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
