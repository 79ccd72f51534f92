"""A run that pauses: by `spec.suspend`, which takes its Job away, or by a queue, which holds the Job back.

Job.spec.suspend is the queue's alone and never written here.
"""

from finetune_api.status import Run
from finetune_operator.decisions.jobs import is_held_back
from finetune_operator.decisions.objects import is_being_deleted, name_of
from finetune_operator.decisions.observed import Object
from finetune_operator.decisions.pods import ends_its_job, unfinished_pod
from finetune_operator.decisions.situation import Situation
from finetune_operator.decisions.statuses import on_its_way, suspended
from finetune_operator.decisions.steps import Step, deletions
from finetune_operator.decisions.texts import sentence, without_credentials

SUSPENDING = "Suspending"
RESUMING = "Resuming"
RESUMED = "Resumed"
QUEUED = "Queued"

END_POLL_SECONDS = 15.0
"""Between looks at a pod that is to save a checkpoint and end; its events come earlier."""

QUEUE_POLL_SECONDS = 300.0
"""Between looks at a Job that a queue holds back; its events come earlier."""


def suspend(situation: Situation) -> Step | None:
    """The Job goes, with the grace of its pod; the run stays. What has just ended may say so first."""
    if not situation.spec.suspend:
        return None
    job, run = situation.observed.job, situation.run
    if job is None:
        return Step(suspended(situation, _fate(situation)))
    if not is_being_deleted(job) and any(map(ends_its_job, situation.observed.pods)):
        return None
    status = on_its_way(
        situation, phase=situation.status.phase or "Pending", reason=SUSPENDING, message=_stopping(situation),
        run=run, progress=situation.status.progress,
    )  # fmt: skip
    return Step(status, delete=deletions(situation, "Job", job), requeue_after_seconds=END_POLL_SECONDS)


def show_that_a_queue_holds_it_back(situation: Situation, job: Object) -> Step | None:
    """However long: what a queue takes its time for is not limited by pendingSeconds."""
    if not is_held_back(job):
        return None
    status = on_its_way(
        situation, phase="Pending", reason=QUEUED, message=_queued(situation, job),
        progress=situation.status.progress,
    )  # fmt: skip
    return Step(status, requeue_after_seconds=QUEUE_POLL_SECONDS)


def is_resuming(situation: Situation) -> bool:
    """Whether the run was suspended by its spec, and is not any more."""
    if any(c.type == "Suspended" and c.status == "True" for c in situation.status.conditions):
        return True
    return situation.says(SUSPENDING, RESUMING)


def where_it_goes_on(situation: Situation, run: Run) -> str:
    """What an interruption costs the run, to follow its subject."""
    if situation.spec.runtime.checkpoints is None:
        return "starts over, as its progress is lost without spec.runtime.checkpoints"
    if run.checkpoint_step is None:
        return "starts over, as there is no checkpoint of it yet"
    lost = (run.last_step or 0) - run.checkpoint_step
    again = f", so that {lost} steps are done again" if lost > 0 else ""
    return f"goes on from the checkpoint of step {run.checkpoint_step}{again}"


def _fate(situation: Situation) -> str:
    run = situation.run
    if run.start_time is None:
        return f"Run {run.number} begins once spec.suspend is false."
    return f"Once spec.suspend is false, run {run.number} {where_it_goes_on(situation, run)}."


def _stopping(situation: Situation) -> str:
    pod, run = unfinished_pod(situation.observed.pods), situation.run
    if pod is None:
        return f"spec.suspend asks for it: Job {run.job} is being deleted."
    grace = situation.spec.runtime.termination_grace_period_seconds
    saves = "save a checkpoint and " if situation.spec.runtime.checkpoints else ""
    return (
        f"spec.suspend asks for it: pod {name_of(pod)} has {grace} s to {saves}end"
        " (spec.runtime.terminationGracePeriodSeconds)."
    )


def _queued(situation: Situation, job: Object) -> str:
    queue = situation.spec.runtime.queue_name
    who = f"Queue {queue} (spec.runtime.queueName)" if queue else "Whoever has suspended it, a queue perhaps,"
    told = _newest_word(situation, job)
    return f"Job {name_of(job)} is held back. {who} decides when it begins.{told}"


def _newest_word(situation: Situation, job: Object) -> str:
    """What the queue says about the Job; what the cluster's own controllers say of it is known."""
    about = [
        event for event in situation.observed.events
        if (event.get("involvedObject") or {}).get("uid") == job["metadata"]["uid"]
        and (event.get("source") or {}).get("component") != "job-controller"
    ]  # fmt: skip
    newest = max(about, key=lambda e: str(e.get("lastTimestamp") or e.get("eventTime") or ""), default=None)
    text = without_credentials((newest or {}).get("message") or "")
    return f" It says: {sentence(text)}" if text else ""
