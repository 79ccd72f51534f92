"""What the attempts of a run cost: seconds, retries, and training steps that have to be done again.

Each look adds to the stored numbers what they do not hold yet, so that pods may vanish and Jobs be made
again, and looking twice changes nothing. No sum ever falls, whatever is observed.
"""

from datetime import datetime

from finetune_api.status import Progress, Run
from finetune_operator.decisions.attempts import Attempt, Fate, attempt_of, vanished_attempt
from finetune_operator.decisions.jobs import attempts
from finetune_operator.decisions.objects import format_time, parse_time
from finetune_operator.decisions.observed import LiveProgress, Observed


def account(run: Run, observed: Observed, progress: Progress | None) -> Run:
    """The run with what this look adds.

    observed: its Job, if there is one, must be the run's own. progress: the stored one, of the stored pod.
    """
    seen = sorted((attempt_of(pod, observed, run) for pod in observed.pods), key=lambda a: a.age)
    newer = [a for a in seen if run.pod is None or a.age > (run.pod_time or "", run.pod)]
    result = run
    if run.pod is not None and not run.pod_ended:
        known = next((a for a in seen if a.name == run.pod), None) or vanished_attempt(observed, run)
        result = _add(result, known, progress.step if progress else None)
    for attempt in newer:
        result = _add(_begin(result, attempt, observed.now), attempt, None)
    return result.model_copy(update={"attempt": _count(run, observed, len(newer))})


def stop(run: Run, now: datetime) -> Run:
    """The run, whose pod the operator itself stops for good."""
    return run if run.pod is None or run.pod_ended else _end(run, "Stopped", now, None)


def _count(run: Run, observed: Observed, newer: int) -> int:
    """The Job also counts pods that nobody has seen; but it knows nothing of the Jobs before it."""
    counted = attempts(observed.job, observed.pods) if observed.job is not None else 0
    return max(counted, run.attempt, newer if run.pod is None else run.attempt + newer)


def _begin(run: Run, attempt: Attempt, now: datetime) -> Run:
    """The one before has ended, even if nobody saw it."""
    if run.pod is not None and not run.pod_ended:
        run = _end(run, "Interrupted", now, None)
    update = {"pod": attempt.name, "pod_time": attempt.made or None, "pod_seconds": 0, "pod_ended": False}
    return run.model_copy(update=update)


def _add(run: Run, attempt: Attempt, stored_step: int | None) -> Run:
    """What the newest attempt adds; stored_step: the last one that status tells of it."""
    if attempt.live is not None:
        run = _with_live(run, attempt.live)
    if attempt.checkpoint:
        run = _with_checkpoint(run, attempt.checkpoint, attempt.end)
    more = max(0, attempt.seconds - run.pod_seconds)
    update = {"active_seconds": run.active_seconds + more, "pod_seconds": run.pod_seconds + more}
    run = run.model_copy(update=update)
    if attempt.fate is None:
        return run
    return _end(run, attempt.fate, attempt.end, stored_step if attempt.step is None else attempt.step)


def _with_live(run: Run, live: LiveProgress) -> Run:
    resumed = _resumed_step(run, live)
    if run.last_step is not None and resumed is not None:
        lost = run.lost_steps + max(0, run.last_step - resumed)
        run = run.model_copy(update={"lost_steps": lost, "last_step": None})
    if live.checkpoint_step:
        return _with_checkpoint(run, live.checkpoint_step, live.checkpoint_at or live.received_at)
    if resumed is not None and resumed < (run.checkpoint_step or 0) and not _has_own_checkpoint(run):
        # What is newer was damaged.
        return run.model_copy(update={"checkpoint_step": resumed or None})
    return run


def _resumed_step(run: Run, live: LiveProgress) -> int | None:
    """Where the attempt went on; None while it has not come to that."""
    if live.resumed_step is not None:
        return live.resumed_step
    is_training = live.progress is not None and live.progress.step is not None
    return (run.checkpoint_step or 0) if is_training else None


def _with_checkpoint(run: Run, step: int, at: datetime) -> Run:
    """A newer checkpoint. One that is heard of again, by a new operator perhaps, keeps its time."""
    time = format_time(at)
    if step == run.checkpoint_step or time < (run.checkpoint_time or ""):
        return run
    return run.model_copy(update={"checkpoint_step": step, "checkpoint_time": time})


def _has_own_checkpoint(run: Run) -> bool:
    """Whether the newest pod made the newest checkpoint."""
    return run.checkpoint_time is not None and run.checkpoint_time >= (run.pod_time or "")


def _end(run: Run, fate: Fate, end: datetime, last_step: int | None) -> Run:
    update: dict[str, object] = {"pod_ended": True}
    if fate != "Done":
        update["wasted_seconds"] = run.wasted_seconds + _wasted(run, end)
        update["last_step"] = run.last_step if last_step is None else last_step
    if fate == "Failed":
        update["retries"] = run.retries + 1
    if fate in {"Interrupted", "Suspended"}:
        update["interruptions"] = run.interruptions + 1
    if _has_own_checkpoint(run):
        update["vain_interruptions"] = 0
    elif fate == "Interrupted" and run.pod_seconds:
        # A pod that never ran could not make one.
        update["vain_interruptions"] = run.vain_interruptions + 1
    return run.model_copy(update=update)


def _wasted(run: Run, end: datetime) -> int:
    """Seconds at the end of the newest attempt that left no checkpoint."""
    saved = parse_time(run.checkpoint_time) if _has_own_checkpoint(run) else None
    since = (end - saved).total_seconds() if saved else run.pod_seconds
    return max(0, min(run.pod_seconds, int(since)))
