"""What becomes of the present run: the rules of `plan` once its Job is there."""

from dataclasses import replace

from finetune_api.report import Report
from finetune_api.status import Failure, Run
from finetune_operator.decisions.accounting import stop
from finetune_operator.decisions.attempts import report_of, was_interrupted
from finetune_operator.decisions.failures import (
    MAX_HINT,
    MAX_MESSAGE,
    failure_of_attempt,
    failure_without_report,
)
from finetune_operator.decisions.gate_rules import judge_fresh
from finetune_operator.decisions.job_rules import JOB_RECREATED, STARTING, config_map, starting_message
from finetune_operator.decisions.jobs import begins_at, end_of, ended_at, is_complete
from finetune_operator.decisions.objects import created_at, is_being_deleted, uid_of
from finetune_operator.decisions.observed import LiveProgress, Object
from finetune_operator.decisions.pods import (
    end_time,
    ends_its_job,
    is_running,
    newest_finished,
    unfinished_pod,
)
from finetune_operator.decisions.problems import problem_of
from finetune_operator.decisions.situation import Situation
from finetune_operator.decisions.statuses import ended, failed, on_its_way
from finetune_operator.decisions.steps import Step, deletions
from finetune_operator.decisions.suspension import (
    RESUMED,
    show_that_a_queue_holds_it_back,
    where_it_goes_on,
)
from finetune_operator.decisions.texts import clip, sentence

SHORTEST_POLL_SECONDS, LONGEST_POLL_SECONDS = 5.0, 60.0
"""Between looks for a pod that does not start: Events about it do not wake anybody."""

RESYNC_SECONDS = 300.0
"""Between looks at a run that goes well, should an event get lost."""

RUNNING = "Running"
RETRYING = "Retrying"
INTERRUPTED = "Interrupted"


def conclude_a_finished_job(situation: Situation) -> Step | None:
    """The Report decides, not the exit code; only without one the Job and its pods are asked."""
    job = situation.observed.job
    if job is None or end_of(job) is None or _was_stopped(situation, job):
        return None
    run = ended(situation.run, ended_at(job) or situation.now)
    report = _final_report(situation)
    if report is None:
        step = Step(failed(situation, failure_without_report(job, situation.observed.pods), run))
    else:
        step = judge_fresh(situation, report, run)
    live = situation.observed.live
    if step.status.run != run or live is None or live.progress is None:
        return step
    return replace(step, status=step.status.model_copy(update={"progress": live.progress}))


def conclude_by_a_verdict(situation: Situation) -> Step | None:
    """A Job that goes before it could say how it ended: what its trainer found out holds all the same."""
    job, run = situation.observed.job, situation.run
    if run.start_time is None or (job is not None and not is_being_deleted(job)):
        return None
    report = _final_report(situation)
    if report is None or report.outcome == "Failed":
        return None
    return judge_fresh(situation, report, ended(run, situation.now))


def follow_the_job(situation: Situation, job: Object) -> Step:
    """The Job goes on: its pod does not start, or runs, or comes up."""
    step = (
        _await_the_end_of_the_job(situation)
        or show_that_a_queue_holds_it_back(situation, job)
        or _show_why_no_pod_starts(situation, job)
        or _follow_a_running_pod(situation)
        or _await_a_pod(situation, job)
    )
    if situation.observed.config is not None or step.delete:
        return step
    # Somebody deleted it. A pod that has not begun yet, and the next attempt, need it.
    return replace(step, create=(config_map(situation),))


def _await_the_end_of_the_job(situation: Situation) -> Step | None:
    """The last pod has ended, and the Job will say so in a moment: until then nothing changes."""
    if not any(map(ends_its_job, situation.observed.pods)):
        return None
    before = situation.status
    run = before.run or situation.run
    status = on_its_way(
        situation, phase=before.phase or "Starting", reason=RUNNING, message=_at_work(run), run=run,
        progress=before.progress,
    )  # fmt: skip
    return Step(status, requeue_after_seconds=SHORTEST_POLL_SECONDS)


def _show_why_no_pod_starts(situation: Situation, job: Object) -> Step | None:
    """Something is missing that may come a minute later; after limits.pendingSeconds the run is given up."""
    observed = situation.observed
    pod = unfinished_pod(observed.pods)
    if pod is not None and is_running(pod):
        return None
    problem = problem_of(job, pod, observed.events)
    if problem is None:
        return None
    limit, waited = situation.spec.limits.pending_seconds, _waited_seconds(situation, job)
    left = limit - waited
    if left > 0:
        message = f"{problem.text} Given up after {limit} s without a start (spec.limits.pendingSeconds)."
        status = on_its_way(
            situation, phase="Pending", reason=problem.reason, message=message, run=situation.run
        )
        return Step(status, requeue_after_seconds=min(left, _poll_seconds(waited)))
    gave_up = f"It did not start within {limit} s (spec.limits.pendingSeconds), so its Job was deleted."
    failure = Failure(
        reason=problem.reason,
        message=clip(f"{sentence(problem.message)} {gave_up}", MAX_MESSAGE),
        hint=clip(f"{problem.hint} Then set spec.rerun to a new word.", MAX_HINT),
        retryable=True,
    )
    run = ended(stop(situation.run, situation.now), situation.now)
    return Step(failed(situation, failure, run), delete=deletions(situation, "Job", job))


def _follow_a_running_pod(situation: Situation) -> Step | None:
    """The trainer's own reports say what it does."""
    pod = unfinished_pod(situation.observed.pods)
    if pod is None or not is_running(pod):
        return None
    before, run = situation.status, situation.run
    live = _live_of(situation.observed.live, pod)
    goes_on = _says(situation, RUNNING) and before.run is not None and before.run.attempt == run.attempt
    stored_phase, stored = (before.phase, before.progress) if goes_on else (None, None)
    phase = (live.phase if live else stored_phase) or "Starting"
    progress = (live.progress if live else None) or stored
    if phase == stored_phase and progress and stored and progress.percent == stored.percent:
        progress = stored  # only a whole percent is worth a write
    status = on_its_way(
        situation, phase=phase, reason=RUNNING, message=_at_work(run), run=run, progress=progress
    )
    return Step(status, requeue_after_seconds=RESYNC_SECONDS)


def _at_work(run: Run) -> str:
    return f"The trainer of run {run.number} is at work."


def _await_a_pod(situation: Situation, job: Object) -> Step:
    """Nothing speaks against it: the first pod comes up, or the next one after a failed attempt."""
    run = situation.run
    reason, message = _starting_words(situation, run)
    status = on_its_way(situation, phase="Starting", reason=reason, message=message, run=run)
    grace = situation.settings.pod_start_grace_seconds
    waited = _waited_seconds(situation, job)
    return Step(status, requeue_after_seconds=grace - waited if waited < grace else _poll_seconds(waited))


def _poll_seconds(waited: float) -> float:
    """Seldom where nothing has changed for long: a quarter of the wait so far."""
    return min(max(waited / 4, SHORTEST_POLL_SECONDS), LONGEST_POLL_SECONDS)


def _starting_words(situation: Situation, run: Run) -> tuple[str, str]:
    before = situation.reconciling
    last = newest_finished(situation.observed.pods)
    if last is not None:
        return _next_attempt_words(situation, run, last)
    if before is not None and before.reason in {JOB_RECREATED, RESUMED}:
        return before.reason, before.message
    return STARTING, starting_message(run.job)


def _next_attempt_words(situation: Situation, run: Run, last: Object) -> tuple[str, str]:
    failure = failure_of_attempt(last, situation.observed, run.number)
    goes_on = f"The run {where_it_goes_on(situation, run)}."
    if was_interrupted(last):
        return INTERRUPTED, f"{sentence(failure.message)} That counts as no retry. {goes_on}"
    text = f"An attempt ended with {failure.reason}: {sentence(failure.message)}"
    return RETRYING, f"{text} Retry {run.retries} of {situation.spec.limits.retries} comes. {goes_on}"


def _was_stopped(situation: Situation, job: Object) -> bool:
    """Whether the Job failed only because it had to go: killing a pod that does not end is no failure."""
    had_to_go = situation.spec.suspend and is_being_deleted(job)
    return had_to_go and not is_complete(job) and not any(map(ends_its_job, situation.observed.pods))


def _says(situation: Situation, reason: str) -> bool:
    return situation.reconciling is not None and situation.reconciling.reason == reason


def _waited_seconds(situation: Situation, job: Object) -> float:
    """How long a pod is awaited; the time in a queue does not count."""
    pods = situation.observed.pods
    pod, last = unfinished_pod(pods), newest_finished(pods)
    times = (created_at(pod),) if pod is not None else (begins_at(job), end_time(last) if last else None)
    since = max((t for t in times if t), default=situation.now)
    return (situation.now - since).total_seconds()


def _live_of(live: LiveProgress | None, pod: Object) -> LiveProgress | None:
    """What was received from this pod; what an earlier attempt said is of the past."""
    return live if live is not None and live.pod_uid == uid_of(pod) else None


def _final_report(situation: Situation) -> Report | None:
    """That of the last pod. A verdict holds whichever pod posted it, a failure explains its own pod only."""
    observed, number = situation.observed, situation.run.number
    pod = newest_finished(observed.pods)
    left = report_of(pod, observed, number) if pod is not None else None
    posted = observed.report.report if observed.report is not None else None
    if left is not None or posted is None or (posted.uid, posted.run) != (situation.uid, number):
        return left
    return posted if pod is None or posted.outcome != "Failed" else None
