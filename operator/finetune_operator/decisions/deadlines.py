"""Runs that are given up: they ran too long, or were interrupted again and again without getting on."""

from finetune_api.results import Failure
from finetune_operator.decisions.pods import ends_its_job, is_running, unfinished_pod
from finetune_operator.decisions.situation import Situation
from finetune_operator.decisions.steps import Step, give_up

MOST_VAIN_INTERRUPTIONS = 5
"""In a row. A trainer that fills the disk of its node would be evicted and replaced for ever."""


def end_a_run_that_is_too_long(situation: Situation) -> Step | None:
    """What counts is the time that pods ran, not the time in a queue or suspended."""
    limit, run = situation.spec.limits.active_seconds, situation.run
    if limit is None or run.active_seconds < limit or any(map(ends_its_job, situation.observed.pods)):
        return None
    message = (
        f"The pods of run {run.number} have run for {run.active_seconds} s in all, where"
        f" spec.limits.activeSeconds allows {limit} s, so its Job was deleted."
    )
    hint = "Raise spec.limits.activeSeconds, or ask for less training; the change starts the next run."
    return give_up(situation, Failure(reason="DeadlineExceeded", message=message, hint=hint, retryable=False))


def end_a_run_that_does_not_get_on(situation: Situation) -> Step | None:
    run = situation.run
    if run.vain_interruptions < MOST_VAIN_INTERRUPTIONS:
        return None
    message = (
        f"Run {run.number} was interrupted {run.vain_interruptions} times in a row without leaving a newer"
        " checkpoint, so it was given up."
    )
    if situation.spec.runtime.checkpoints is None:
        hint = "Give the run a place to go on from in spec.runtime.checkpoints, or nodes that stay."
    else:
        hint = "See why its pods are stopped, or lower spec.runtime.checkpoints.everySeconds."
    hint = f"{hint} Then set spec.rerun to a new word."
    return give_up(situation, Failure(reason="NoProgress", message=message, hint=hint, retryable=True))


def seconds_left(situation: Situation) -> float | None:
    """Until the run is too long; None without a limit, or while no pod of it runs."""
    limit, pod = situation.spec.limits.active_seconds, unfinished_pod(situation.observed.pods)
    if limit is None or pod is None or not is_running(pod):
        return None
    return max(0.0, float(limit - situation.run.active_seconds))
