"""A run whose pod has begun: the rules of `plan` while it works, says nothing, or cannot be asked."""

from finetune_api.status import Run
from finetune_operator.decisions.attempts import was_interrupted
from finetune_operator.decisions.deadlines import seconds_left
from finetune_operator.decisions.objects import uid_of
from finetune_operator.decisions.observed import LiveProgress, Object
from finetune_operator.decisions.pods import (
    end_time,
    ends_its_job,
    is_running,
    newest_finished,
    unfinished_pod,
)
from finetune_operator.decisions.running import (
    NODE_NOT_READY,
    STUCK,
    at_most,
    node_trouble,
    quiet_since,
    seconds_until_overdue,
    stuck,
    stuck_in,
)
from finetune_operator.decisions.situation import Situation
from finetune_operator.decisions.statuses import on_its_way
from finetune_operator.decisions.steps import Step

SHORTEST_POLL_SECONDS, LONGEST_POLL_SECONDS = 5.0, 60.0
"""Between looks for a pod that does not start: Events about it do not wake anybody."""

JOB_LAG_SECONDS = 15.0
"""In which a Job says that its pod has ended; where thousands end at once, its controller takes minutes."""

RESYNC_SECONDS = 300.0
"""Between looks at a run that goes well, should an event get lost."""

RUNNING = "Running"
_AT_WORK = (RUNNING, STUCK, NODE_NOT_READY)


def poll_seconds(waited: float) -> float:
    """Seldom where nothing has changed for long: a quarter of the wait so far."""
    return min(max(waited / 4, SHORTEST_POLL_SECONDS), LONGEST_POLL_SECONDS)


def await_the_end_of_the_job(situation: Situation) -> Step | None:
    """The last pod has ended, and the Job will say so in a moment: until then nothing changes."""
    if not _was_the_last(situation):
        return None
    before = situation.status
    run = before.run or situation.run
    status = on_its_way(
        situation, phase=before.phase or "Starting", reason=RUNNING, message=_at_work(run), run=run,
        progress=before.progress,
    )  # fmt: skip
    return Step(status, requeue_after_seconds=_job_lag_seconds(situation))


def _job_lag_seconds(situation: Situation) -> float:
    """Until it is worth to ask whether an event got lost: each time as long again as it took so far."""
    last = newest_finished(situation.observed.pods)
    end = end_time(last) if last is not None else None
    waited = (situation.now - end).total_seconds() if end else 0.0
    return min(max(waited, JOB_LAG_SECONDS), RESYNC_SECONDS)


def _was_the_last(situation: Situation) -> bool:
    """Whether no other attempt follows those that have ended."""
    pods = situation.observed.pods
    last = newest_finished(pods) if unfinished_pod(pods) is None else None
    used_up = situation.run.retries > situation.spec.limits.retries
    return any(map(ends_its_job, pods)) or (used_up and last is not None and not was_interrupted(last))


def show_that_its_node_does_not_answer(situation: Situation) -> Step | None:
    pod, before = unfinished_pod(situation.observed.pods), situation.status
    problem = node_trouble(pod, situation.now) if pod is not None else None
    if problem is None:
        return None
    status = on_its_way(
        situation, phase=before.phase or "Pending", reason=problem.reason, message=problem.text,
        run=situation.run, progress=before.progress,
    )  # fmt: skip
    return Step(status, requeue_after_seconds=LONGEST_POLL_SECONDS)


def follow_a_running_pod(situation: Situation) -> Step | None:
    """The trainer's own reports say what it does."""
    pod = unfinished_pod(situation.observed.pods)
    if pod is None or not is_running(pod):
        return None
    before, run = situation.status, situation.run
    live = _live_of(situation.observed.live, pod)
    goes_on = situation.says(*_AT_WORK) and before.run is not None and before.run.attempt == run.attempt
    stored_phase, stored = (before.phase, before.progress) if goes_on else (None, None)
    phase = (live.phase if live else stored_phase) or "Starting"
    progress = (live.progress if live else None) or stored
    if phase == stored_phase and progress and stored and progress.percent == stored.percent:
        progress = stored  # only a whole percent is worth a write
    since, limit = quiet_since(situation.observed, pod, live), situation.spec.limits.stuck_seconds
    left = stuck_in(since, limit, situation.now)
    reason, message = RUNNING, _at_work(run)
    if left <= 0:
        reason, message = STUCK, stuck(pod, since, limit, live).text
    status = on_its_way(situation, phase=phase, reason=reason, message=message, run=run, progress=progress)
    again = at_most(RESYNC_SECONDS, left, seconds_until_overdue(pod, situation.now), seconds_left(situation))
    return Step(status, requeue_after_seconds=again)


def _at_work(run: Run) -> str:
    which = f"attempt {run.attempt} of run {run.number}" if run.attempt > 1 else f"run {run.number}"
    return f"The trainer of {which} is at work."


def _live_of(live: LiveProgress | None, pod: Object) -> LiveProgress | None:
    """What was received from this pod; what an earlier attempt said is of the past."""
    return live if live is not None and live.pod_uid == uid_of(pod) else None
