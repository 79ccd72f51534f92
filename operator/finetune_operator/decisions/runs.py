"""The run that a finetune's status speaks of: its number, its names, and whether it is over."""

from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from finetune_api.limits import Limits
from finetune_api.status import FinetuneStatus
from finetune_operator.decisions.conditions import find
from finetune_operator.decisions.objects import is_being_deleted, name_of, parse_time
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


def next_look(finetune: Object, now: datetime) -> float | None:
    """Seconds until the Job of a settled finetune is to be removed, 0 once it is time.

    None: nothing is left to do, however long one waits.
    """
    run = stored_status(finetune).run
    ended = parse_time(run.completion_time) if run is not None else None
    if run is None or ended is None or run.job_removed or not is_settled(finetune):
        return None
    if is_being_deleted(finetune):
        return None
    return max(0.0, (ended + timedelta(seconds=_keep_seconds(finetune)) - now).total_seconds())


def _keep_seconds(finetune: Object) -> int:
    """The rest of the spec may be what is wrong with the finetune."""
    try:
        return Limits.model_validate((finetune.get("spec") or {}).get("limits") or {}).keep_job_seconds
    except ValidationError:
        return Limits().keep_job_seconds


def is_settled(finetune: Object) -> bool:
    """Whether nothing is left to do for this generation, so that it need not even be read again."""
    if is_being_deleted(finetune):
        return True
    status = stored_status(finetune)
    if status.observed_generation != finetune["metadata"]["generation"]:
        return False
    suspended = find(status.conditions, "Suspended")
    if suspended is not None and suspended.status == "True":
        return True
    stalled, ready = find(status.conditions, "Stalled"), find(status.conditions, "Ready")
    if stalled is not None and stalled.status == "True":
        return stalled.reason != NAME_TAKEN
    return ready is not None and ready.status == "True"
