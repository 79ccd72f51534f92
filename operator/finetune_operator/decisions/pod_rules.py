"""What becomes of the present run: the rules of `plan` once its Job is there."""

from dataclasses import replace

from finetune_api.report import Report
from finetune_api.results import Failure
from finetune_api.status import Run
from finetune_operator.decisions.attempts import report_of, was_interrupted
from finetune_operator.decisions.exits import RERUN
from finetune_operator.decisions.failures import (
    INTERRUPTED,
    MAX_HINT,
    MAX_MESSAGE,
    failure_of_attempt,
    failure_without_report,
)
from finetune_operator.decisions.gate_rules import judge_fresh
from finetune_operator.decisions.job_rules import (
    JOB_RECREATED,
    REPORT_LOST,
    STARTING,
    config_map,
    make_up_for_a_lost_report,
    starting_message,
)
from finetune_operator.decisions.jobs import begins_at, end_of, ended_at, is_complete
from finetune_operator.decisions.objects import created_at, is_being_deleted
from finetune_operator.decisions.observed import Object
from finetune_operator.decisions.pods import (
    end_time,
    ends_its_job,
    is_running,
    newest_finished,
    unfinished_pod,
)
from finetune_operator.decisions.problems import problem_of
from finetune_operator.decisions.running_rules import (
    await_the_end_of_the_job,
    follow_a_running_pod,
    poll_seconds,
    show_that_its_node_does_not_answer,
)
from finetune_operator.decisions.situation import Situation
from finetune_operator.decisions.statuses import ended, failed, on_its_way
from finetune_operator.decisions.steps import Step, give_up
from finetune_operator.decisions.suspension import (
    RESUMED,
    show_that_a_queue_holds_it_back,
    where_it_goes_on,
)
from finetune_operator.decisions.texts import as_next_step, clip, sentence


def conclude_a_finished_job(situation: Situation) -> Step | None:
    """The Report decides, not the exit code; only without one the Job and its pods are asked."""
    job = situation.observed.job
    if job is None or end_of(job) is None or _was_stopped(situation, job):
        return None
    run = ended(situation.run, ended_at(job) or situation.now)
    report = _final_report(situation)
    if report is None and is_complete(job) and newest_finished(situation.observed.pods) is None:
        if not run.report_lost:
            return make_up_for_a_lost_report(situation, job)
        if is_being_deleted(job):
            return None
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
        await_the_end_of_the_job(situation)
        or show_that_a_queue_holds_it_back(situation, job)
        or show_that_its_node_does_not_answer(situation)
        or _tell_how_the_last_attempt_ended(situation)
        or _show_why_no_pod_starts(situation, job)
        or follow_a_running_pod(situation)
        or _await_a_pod(situation, job)
    )
    if situation.observed.config is not None or step.delete:
        return step
    # Somebody deleted it. A pod that has not begun yet, and the next attempt, need it.
    return replace(step, create=(config_map(situation),))


def _tell_how_the_last_attempt_ended(situation: Situation) -> Step | None:
    """Before it is told that the next one runs: where both came at once, the reason would never be told."""
    before, run = situation.status.run, situation.run
    last, pod = newest_finished(situation.observed.pods), unfinished_pod(situation.observed.pods)
    if before is None or pod is None or not 0 < before.attempt < run.attempt:
        return None
    if last is None and not _is_end_untold(situation):
        return None
    reason, message = _next_attempt_words(situation, run, last)
    status = on_its_way(situation, phase="Starting", reason=reason, message=message, run=run)
    return Step(status, requeue_after_seconds=0.0)


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
        return Step(status, requeue_after_seconds=min(left, poll_seconds(waited)))
    gave_up = f"It did not start within {limit} s (spec.limits.pendingSeconds), so its Job was deleted."
    failure = Failure(
        reason=problem.reason,
        message=clip(f"{sentence(problem.message)} {gave_up}", MAX_MESSAGE),
        hint=clip(f"{problem.hint} Then set spec.rerun to a new word.", MAX_HINT),
        retryable=True,
    )
    return give_up(situation, failure)


def _await_a_pod(situation: Situation, job: Object) -> Step:
    """Nothing speaks against it: the first pod comes up, or the next one after a failed attempt."""
    run = situation.run
    reason, message = _starting_words(situation, run)
    status = on_its_way(situation, phase="Starting", reason=reason, message=message, run=run)
    grace = situation.settings.pod_start_grace_seconds
    waited = _waited_seconds(situation, job)
    return Step(status, requeue_after_seconds=grace - waited if waited < grace else poll_seconds(waited))


def _starting_words(situation: Situation, run: Run) -> tuple[str, str]:
    before, last = situation.reconciling, newest_finished(situation.observed.pods)
    if last is not None:
        return _next_attempt_words(situation, run, last)
    if before is not None and situation.says(JOB_RECREATED, REPORT_LOST, RESUMED, INTERRUPTED):
        return before.reason, before.message
    if _is_end_untold(situation):
        return _next_attempt_words(situation, run, None)
    if run.pod_ended:
        # Its pod is gone already; why it ended was told before.
        return (
            STARTING,
            f"Another attempt of run {run.number} comes up. It {where_it_goes_on(situation, run)}.",
        )
    return STARTING, starting_message(run.job)


def _is_end_untold(situation: Situation) -> bool:
    """Whether a pod went before anybody saw how it ended."""
    before, run = situation.status.run, situation.run
    if before is None or before.pod is None or before.pod_ended:
        return False
    return run.pod_ended or run.pod != before.pod


def _next_attempt_words(situation: Situation, run: Run, last: Object | None) -> tuple[str, str]:
    """last: the pod that ended; None when it went unseen."""
    goes_on = f"The run {where_it_goes_on(situation, run)}."
    if last is None:
        before = situation.status.run or run
        what = f"Pod {before.pod} is gone before anybody saw how it ended."
        return INTERRUPTED, f"{what} That counts as no retry. {goes_on}"
    failure = failure_of_attempt(last, situation.observed, run.number)
    if was_interrupted(last):
        return failure.reason, f"{sentence(failure.message)} That counts as no retry. {goes_on}"
    most = situation.spec.limits.retries
    hint = "" if RERUN in failure.hint else f"{as_next_step(failure.hint)} "
    return failure.reason, f"{sentence(failure.message)} {hint}Retry {run.retries} of {most} comes. {goes_on}"


def _was_stopped(situation: Situation, job: Object) -> bool:
    """Whether the Job failed only because it had to go: killing a pod that does not end is no failure."""
    had_to_go = situation.spec.suspend and is_being_deleted(job)
    return had_to_go and not is_complete(job) and not any(map(ends_its_job, situation.observed.pods))


def _waited_seconds(situation: Situation, job: Object) -> float:
    """How long a pod is awaited; the time in a queue does not count."""
    pods = situation.observed.pods
    pod, last = unfinished_pod(pods), newest_finished(pods)
    times = (created_at(pod),) if pod is not None else (begins_at(job), end_time(last) if last else None)
    since = max((t for t in times if t), default=situation.now)
    return (situation.now - since).total_seconds()


def _final_report(situation: Situation) -> Report | None:
    """That of the last pod. A verdict holds whichever pod posted it, a failure explains its own pod only."""
    observed, number = situation.observed, situation.run.number
    pod = newest_finished(observed.pods)
    left = report_of(pod, observed, number) if pod is not None else None
    posted = observed.report.report if observed.report is not None else None
    if left is not None or posted is None or (posted.uid, posted.run) != (situation.uid, number):
        return left
    return posted if pod is None or posted.outcome != "Failed" else None
