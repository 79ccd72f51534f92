"""The run that a finetune's status speaks of: its number, its names, and whether it is over."""

from typing import Any

from pydantic import ValidationError

from finetune_api.status import FinetuneStatus
from finetune_operator.decisions.conditions import find
from finetune_operator.decisions.objects import is_being_deleted, name_of
from finetune_operator.decisions.observed import Object

NAME_TAKEN = "NameTaken"
"""The one Stalled that mends without a change of the spec: the object in the way may be removed."""


def stored_status(finetune: Object) -> FinetuneStatus:
    """The status as it stands; parts that no version of ours wrote are left out."""
    status: dict[str, Any] = dict(finetune.get("status") or {})
    while True:
        try:
            return FinetuneStatus.model_validate(status)
        except ValidationError as error:
            for broken in {str(e["loc"][0]) for e in error.errors()}:
                del status[broken]


def run_number(finetune: Object) -> int:
    """Number of the present run; 1 before the first."""
    run = stored_status(finetune).run
    return run.number if run else 1


def children_name(finetune: Object, number: int | None = None) -> str:
    """Name of Job and ConfigMap of the present run, or of that number's."""
    return f"{name_of(finetune)}-{number or run_number(finetune)}"


def awaits_previous_job(finetune: Object) -> bool:
    """Whether the run before must be gone first: only then is its Job looked for."""
    run = stored_status(finetune).run
    return run is not None and run.number > 1 and run.start_time is None


def is_settled(finetune: Object) -> bool:
    """Whether nothing is left to do for this generation, so that it need not even be read again."""
    if is_being_deleted(finetune):
        return True
    status = stored_status(finetune)
    if status.observed_generation != finetune["metadata"]["generation"]:
        return False
    stalled, ready = find(status.conditions, "Stalled"), find(status.conditions, "Ready")
    if stalled is not None and stalled.status == "True":
        return stalled.reason != NAME_TAKEN
    return ready is not None and ready.status == "True"
