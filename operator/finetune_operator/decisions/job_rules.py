"""The Job of the present run: what must be gone before it is made, and how it is made."""

from finetune_api.status import FinetuneStatus
from finetune_operator.decisions.jobs import pod_hash_of, spec_hash_of
from finetune_operator.decisions.manifests import build_config_map, build_job
from finetune_operator.decisions.objects import (
    created_at,
    format_time,
    is_being_deleted,
    is_controlled_by,
    name_of,
)
from finetune_operator.decisions.observed import Object
from finetune_operator.decisions.pod_template import pod_hash
from finetune_operator.decisions.pods import ends_its_job, is_finished, is_running
from finetune_operator.decisions.run_rules import SPEC_CHANGED
from finetune_operator.decisions.runs import awaits_previous_job
from finetune_operator.decisions.situation import Situation
from finetune_operator.decisions.statuses import on_its_way
from finetune_operator.decisions.steps import DELETION_POLL_SECONDS, Kind, Step, be_rid_of
from finetune_operator.decisions.suspension import RESUMED, RESUMING, is_resuming, where_it_goes_on
from finetune_operator.errors import Waiting

STARTING = "Starting"
JOB_RECREATED = "JobRecreated"
SETTINGS_CHANGED = "SettingsChanged"
REPORT_LOST = "ReportLost"


def wait_for_the_previous_job(situation: Situation) -> Step | None:
    """Two pods must never work at the same time for one finetune."""
    previous = situation.observed.previous_job
    if previous is None or not awaits_previous_job(situation.observed.finetune):
        return None
    if not is_controlled_by(previous, situation.uid):
        return None
    return be_rid_of(situation, "Job", previous, _still_pending(situation))


def replace_an_outdated_job(situation: Situation) -> Step | None:
    """A Job of ours for another spec: made by a look that ended before its status was written."""
    job = situation.observed.job
    if job is None or spec_hash_of(job) == situation.run.spec_hash:
        return None
    message = f"Job {name_of(job)} was made for an earlier spec and is being replaced."
    status = on_its_way(situation, phase="Pending", reason=SPEC_CHANGED, message=message)
    return be_rid_of(situation, "Job", job, status)


def replace_a_job_of_other_pods(situation: Situation) -> Step | None:
    """A Job never changes, so that one whose pod cannot start would not, whatever is corrected.

    What runs goes on as it was made: new settings hold from the next attempt.
    """
    job, pods = situation.observed.job, situation.observed.pods
    if job is None or is_being_deleted(job) or any(map(is_running, pods)) or any(map(ends_its_job, pods)):
        return None
    if pod_hash_of(job) in {None, pod_hash(situation.spec)}:
        return None
    message = f"What the spec says of its pod has changed, and none runs: Job {name_of(job)} is made again."
    status = on_its_way(situation, phase="Pending", reason=SETTINGS_CHANGED, message=message)
    return be_rid_of(situation, "Job", job, status)


def wait_for_what_is_being_deleted(situation: Situation) -> Step | None:
    job, config = situation.observed.job, situation.observed.config
    if job is not None and is_being_deleted(job):
        raise _terminating("Job", job, _why_again(situation) or "JobTerminating")
    if job is None and config is not None and is_being_deleted(config):
        raise _terminating("ConfigMap", config, "ConfigMapTerminating")
    return None


def wait_for_pods_of_earlier_jobs(situation: Situation) -> Step | None:
    """A Job may be gone before its pods; whoever deletes a finetune and makes it anew is as quick."""
    observed = situation.observed
    if observed.job is not None:
        return None
    at_work = [pod for pod in (*observed.pods, *observed.pods_of_others) if not is_finished(pod)]
    if not at_work:
        return None
    message = (
        f"Pod {name_of(at_work[0])} of an earlier Job has not ended yet; the run goes on when it has,"
        " so that two never work at the same time."
    )
    raise Waiting("PodTerminating", message, DELETION_POLL_SECONDS)


def replace_an_outdated_config(situation: Situation) -> Step | None:
    """A ConfigMap never changes, so that a run reads one thing only; before its Job it can be replaced."""
    job, config = situation.observed.job, situation.observed.config
    if job is not None or config is None or config.get("data") == config_map(situation)["data"]:
        return None
    return be_rid_of(situation, "ConfigMap", config, _still_pending(situation))


def make_the_job(situation: Situation) -> Step:
    """ConfigMap first: the pod mounts it."""
    observed, run = situation.observed, situation.run
    missing = () if observed.config else (config_map(situation),)
    job = build_job(observed.finetune, situation.spec, run, situation.settings)
    reason, message = STARTING, starting_message(run.job)
    if run.start_time is not None:
        reason, message = _going_on_words(situation)
    begun = run.model_copy(update={"start_time": run.start_time or format_time(situation.now)})
    status = on_its_way(situation, phase="Starting", reason=reason, message=message, run=begun)
    return Step(status, create=(*missing, job))


def make_up_for_a_lost_report(situation: Situation, job: Object) -> Step:
    """Once a run. A trainer that finds the model of its run published only repeats that Report."""
    message = f"Job {name_of(job)} is complete, but its pod is gone and its Report is lost: it is made again."
    run = situation.run.model_copy(update={"report_lost": True})
    status = on_its_way(situation, phase="Pending", reason=REPORT_LOST, message=message, run=run)
    return be_rid_of(situation, "Job", job, status)


def _why_again(situation: Situation) -> str | None:
    """Why there is to be another Job for this run, if it is by our own doing."""
    if is_resuming(situation):
        return RESUMING
    return next((r for r in (REPORT_LOST, SETTINGS_CHANGED) if situation.says(r)), None)


def _going_on_words(situation: Situation) -> tuple[str, str]:
    run, goes_on = situation.run, where_it_goes_on(situation, situation.run)
    why = _why_again(situation)
    if why == REPORT_LOST:
        text = f"Job {run.job} was made again, as the Report of run {run.number} was lost."
        return REPORT_LOST, f"{text} What was published already is reported once more."
    if why == RESUMING:
        return RESUMED, f"Run {run.number} was resumed as Job {run.job}: it {goes_on}."
    if why == SETTINGS_CHANGED:
        return STARTING, starting_message(run.job)
    text = f"Job {run.job} was gone in the middle of the run and was made again: the run {goes_on}."
    return JOB_RECREATED, text


def starting_message(job: str) -> str:
    return f"Job {job} was made; its pod comes up."


def _still_pending(situation: Situation) -> FinetuneStatus:
    """What the status says already, of the present generation."""
    before = situation.reconciling
    if is_resuming(situation):
        message = f"Run {situation.run.number} {where_it_goes_on(situation, situation.run)}."
        return on_its_way(situation, phase="Pending", reason=RESUMING, message=message)
    reason = before.reason if before else STARTING
    message = before.message if before else starting_message(situation.run.job)
    return on_its_way(situation, phase="Pending", reason=reason, message=message)


def _terminating(kind: Kind, thing: Object, reason: str) -> Waiting:
    since = created_at(thing)
    made = f" (made {format_time(since)})" if since else ""
    message = f"{kind} {name_of(thing)}{made} is still being deleted; the run goes on when it is gone."
    return Waiting(reason, message, DELETION_POLL_SECONDS)


def config_map(situation: Situation) -> Object:
    """The run's ConfigMap as it is to be."""
    observed = situation.observed
    return build_config_map(
        observed.finetune,
        situation.spec,
        situation.run,
        observed.ca_certificate,
        allow_remote_code=situation.settings.allow_remote_code,
    )
