"""What the state of a run's Job means: whether it is over, and how many pods it has started."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from finetune_api import names
from finetune_operator.decisions.objects import created_at, is_being_deleted, parse_time, true_condition
from finetune_operator.decisions.observed import Object
from finetune_operator.decisions.pods import is_finished


def end_of(job: Object) -> dict[str, Any] | None:
    """The condition that ended the Job, Complete or Failed; None while it goes on."""
    return true_condition(job, "Complete") or true_condition(job, "Failed")


def ended_at(job: Object) -> datetime | None:
    return parse_time((end_of(job) or {}).get("lastTransitionTime"))


def is_complete(job: Object) -> bool:
    return true_condition(job, "Complete") is not None


def is_held_back(job: Object) -> bool:
    """Whether somebody, a queue as a rule, lets the Job have no pods for now."""
    return (job.get("spec") or {}).get("suspend") is True


def begins_at(job: Object) -> datetime | None:
    """Since when it may have pods: when it was made or, later, when the queue let it through."""
    let_through = parse_time((job.get("status") or {}).get("startTime"))
    return max((t for t in (let_through, created_at(job)) if t), default=None)


def attempts(job: Object, pods: Sequence[Object]) -> int:
    """Pods started so far, as far as the Job and what is left of its pods can tell."""
    status = job.get("status") or {}
    counted = sum(status.get(key) or 0 for key in ("active", "failed", "succeeded"))
    return max(counted, len(pods))


def counts_no_others(job: Object, pods: Sequence[Object]) -> bool:
    """Whether every pod that the Job counts can be one of these, by what it counts it as."""
    status = job.get("status") or {}
    phases = [(pod.get("status") or {}).get("phase") for pod in pods]
    ended = {"succeeded": phases.count("Succeeded"), "failed": phases.count("Failed")}
    active = sum(not is_being_deleted(pod) and not is_finished(pod) for pod in pods)
    return all((status.get(key) or 0) <= count for key, count in {**ended, "active": active}.items())


def spec_hash_of(job: Object) -> str | None:
    """The specHash that the Job was made for."""
    return (job["metadata"].get("annotations") or {}).get(names.ANNOTATION_SPEC_HASH)


def pod_hash_of(job: Object) -> str | None:
    """Of what its finetune said of its pods; None for a Job of before that was kept."""
    return (job["metadata"].get("annotations") or {}).get(names.ANNOTATION_POD_HASH)
