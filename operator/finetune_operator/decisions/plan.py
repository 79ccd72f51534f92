"""What to do about one finetune: the status it should have, and what to create or delete.

`reconcile` observes, asks here, and acts. The rules below are tried in order and the first hit decides, so
their order is the policy. Nothing in here reads a cluster or a clock.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from finetune_api.status import FinetuneStatus
from finetune_operator.decisions import (
    account_rules,
    deadlines,
    job_rules,
    keeping,
    pod_rules,
    run_rules,
    suspension,
)
from finetune_operator.decisions.objects import parse_time
from finetune_operator.decisions.observed import LiveProgress, Object, Observed
from finetune_operator.decisions.runs import NAME_TAKEN, next_look
from finetune_operator.decisions.situation import Situation
from finetune_operator.decisions.statuses import on_its_way, refused
from finetune_operator.decisions.steps import Deletion, Step, deletions
from finetune_operator.errors import Stalled, Waiting
from finetune_operator.settings import Settings

__all__ = ["Deletion", "LiveProgress", "Observed", "Plan", "plan"]

NAME_POLL_SECONDS = 60.0
"""Between looks whether a taken name is free: nothing tells us when a stranger's object goes."""

_SECONDS = ("active_seconds", "pod_seconds")
_COSTS = (
    *_SECONDS, "attempt", "pod", "pod_time", "checkpoint_step", "checkpoint_time", "lost_steps", "last_step",
)  # fmt: skip
"""Parts of `Run` that wait for the next write, as progress does."""

_RULES: tuple[Callable[[Situation], Step | None], ...] = (
    run_rules.leave_what_is_being_deleted,
    keeping.leave_what_is_settled,
    run_rules.refuse_an_invalid_spec,
    run_rules.refuse_arguments_that_the_trainer_would_refuse,
    run_rules.refuse_code_that_is_not_allowed,
    run_rules.tell_of_a_refusal,
    # Which run there should be comes before any look at its objects: those of an older one do not matter.
    run_rules.begin_a_run_for_a_changed_spec,
    run_rules.look_again_at_a_run_that_is_over,
    # From here on the run is to go on. What is not ours is neither used nor deleted.
    run_rules.refuse_names_that_are_taken,
    job_rules.wait_for_the_previous_job,
    job_rules.replace_an_outdated_job,
    # Before the look for deletions: what a finished Job found counts, also while somebody deletes it.
    pod_rules.conclude_a_finished_job,
    pod_rules.conclude_by_a_verdict,
    suspension.suspend,
    deadlines.end_a_run_that_is_too_long,
    deadlines.end_a_run_that_does_not_get_on,
    job_rules.replace_a_job_of_other_pods,
    job_rules.wait_for_what_is_being_deleted,
    job_rules.wait_for_pods_of_earlier_jobs,
    job_rules.replace_an_outdated_config,
    account_rules.wait_for_an_account_that_allows_it,
)


@dataclass(frozen=True)
class Plan:
    """Acted on in this order: delete, create, status. Once applied, the next plan changes nothing."""

    status: dict[str, Any]
    """The status it should have; equal to the present one when nothing has changed."""
    create: tuple[Object, ...] = ()
    delete: tuple[Deletion, ...] = ()
    requeue_after_seconds: float | None = None


def plan(observed: Observed, settings: Settings) -> Plan:
    """Total: whatever was observed, there is a Plan."""
    situation = Situation(observed, settings)
    try:
        step = _first_hit(situation) or _go_on(situation)
    except Stalled as error:
        step = _stall(situation, error)
    except Waiting as error:
        step = _wait(situation, error)
    return _quiet(situation, step)


def _first_hit(situation: Situation) -> Step | None:
    return next((step for rule in _RULES if (step := rule(situation)) is not None), None)


def _go_on(situation: Situation) -> Step:
    """Nothing stands in the way of the run."""
    job = situation.observed.job
    return job_rules.make_the_job(situation) if job is None else pod_rules.follow_the_job(situation, job)


def _stall(situation: Situation, error: Stalled) -> Step:
    again = NAME_POLL_SECONDS if error.reason == NAME_TAKEN else None
    paused = situation.observed.finetune["spec"].get("suspend") is True
    return Step(
        refused(situation, error.reason, error.message),
        delete=deletions(situation, "Job", situation.observed.job) if paused else (),
        requeue_after_seconds=again,
    )


def _wait(situation: Situation, error: Waiting) -> Step:
    """Reconciling, but not for ever: a run that has no Job yet waits no longer than limits.pendingSeconds."""
    limit, since = situation.spec.limits.pending_seconds, _waits_since(situation)
    if since is not None and (situation.now - since).total_seconds() >= limit:
        message = f"{error.message} It did not change within {limit} s (spec.limits.pendingSeconds)."
        return _stall(situation, Stalled(error.reason, message))
    status = on_its_way(situation, phase="Pending", reason=error.reason, message=error.message)
    return Step(status, requeue_after_seconds=error.retry_after_seconds)


def _waits_since(situation: Situation) -> datetime | None:
    before = situation.reconciling
    began = situation.run.start_time is not None
    return None if before is None or began else parse_time(before.last_transition_time)


def _quiet(situation: Situation, step: Step) -> Plan:
    """The plan without a write that says nothing new, or that can wait for the next one."""
    stored, status = situation.observed.finetune.get("status") or {}, step.status.to_dict()
    requeue = step.requeue_after_seconds
    if _but_for_seconds(step.status) == _but_for_seconds(situation.status):
        status = stored  # that a pod still runs is no news
    elif (rest := _rest_of_interval(situation, step)) > 0:
        status, requeue = stored, min(rest, requeue or rest)
    if requeue is None:
        requeue = next_look({**situation.observed.finetune, "status": status}, situation.now)
    return Plan(status, step.create, step.delete, requeue)


def _rest_of_interval(situation: Situation, step: Step) -> float:
    """Seconds that a change of progress alone has to wait; 0 for everything else."""
    written = situation.written_at
    if written is None or _essence(step.status) != _essence(situation.status):
        return 0.0
    interval = situation.settings.progress_interval_seconds
    return interval - (situation.now - written).total_seconds()


def _essence(status: FinetuneStatus) -> tuple[object, ...]:
    """What a machine may act on: everything but phase, progress, what the pods cost, and messages."""
    said = [(c.type, c.status, c.reason, c.observed_generation) for c in status.conditions]
    run = status.run.model_copy(update=dict.fromkeys(_COSTS)) if status.run else None
    rest = status.model_copy(update={"phase": None, "progress": None, "run": run, "conditions": []})
    return said, rest


def _but_for_seconds(status: FinetuneStatus) -> FinetuneStatus:
    if status.run is None:
        return status
    run = status.run.model_copy(update=dict.fromkeys(_SECONDS))
    return status.model_copy(update={"run": run})
