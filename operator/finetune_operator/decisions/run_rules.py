"""Which run there should be: the rules of `plan` before a Job of the present run goes on."""

from finetune_api.arguments import check_args
from finetune_api.refusals import Refused
from finetune_api.status import FinetuneStatus
from finetune_operator.decisions.accounting import stop
from finetune_operator.decisions.gate_rules import judge_stored
from finetune_operator.decisions.jobs import spec_hash_of
from finetune_operator.decisions.manifests import build_config_map, build_job
from finetune_operator.decisions.objects import (
    created_at,
    format_time,
    is_being_deleted,
    is_controlled_by,
    name_of,
)
from finetune_operator.decisions.observed import Object
from finetune_operator.decisions.outcome import stored_report
from finetune_operator.decisions.runs import NAME_TAKEN, awaits_previous_job
from finetune_operator.decisions.situation import Situation
from finetune_operator.decisions.statuses import failed, on_its_way
from finetune_operator.decisions.steps import Kind, Step, begin_next, deletions
from finetune_operator.errors import Stalled, Waiting

DELETION_POLL_SECONDS = 2.0
"""Between looks for an object that is going away; its last event usually comes first."""

SPEC_CHANGED = "SpecChanged"
STARTING = "Starting"
JOB_RECREATED = "JobRecreated"


def leave_what_is_being_deleted(situation: Situation) -> Step | None:
    """Garbage collection takes the children along; a status nobody will read is not worth a write."""
    return Step(situation.status) if is_being_deleted(situation.observed.finetune) else None


def tell_of_a_refusal(situation: Situation) -> Step | None:
    """The cluster refused what was planned from all this: planning it again would end the same way."""
    if situation.observed.refusal is not None:
        raise situation.observed.refusal
    return None


def refuse_an_invalid_spec(situation: Situation) -> Step | None:
    """The API server refuses what it can see; this is for what CEL cannot."""
    _ = situation.spec
    return None


def refuse_arguments_that_the_trainer_would_refuse(situation: Situation) -> Step | None:
    """Before a GPU is taken for them. Only for the operator's own image: another may have another library.

    A run that was let through stays so, whatever an upgrade of ours says of its spec.
    """
    if situation.is_let_through or situation.spec.runtime.image is not None:
        return None
    try:
        check_args(situation.spec)
    except Refused as refused:
        told = f"The spec is not valid: {refused.message} ({refused.hint}). Correct it and apply it again."
        raise Stalled("InvalidSpec", told) from refused
    return None


def refuse_code_that_is_not_allowed(situation: Situation) -> Step | None:
    """The trainer refuses it too; a run that was let through goes on with what its ConfigMap says."""
    if not situation.spec.model.trust_remote_code or situation.settings.allow_remote_code:
        return None
    if situation.is_let_through:
        return None
    told = (
        "`model.trustRemoteCode` is not allowed here. Take a model without code of its own, or let an"
        " administrator set the chart's allowRemoteCode."
    )
    raise Stalled("RemoteCodeNotAllowed", told)


def begin_a_run_for_a_changed_spec(situation: Situation) -> Step | None:
    """Another specHash is another run; the model of the last one stays until this one passes."""
    if situation.status.run is None or situation.is_let_through:
        return None
    run = stop(situation.run, situation.now)
    message = f"The spec has changed: run {run.number} gives way to a new one."
    return begin_next(situation, run, SPEC_CHANGED, message)


def look_again_at_a_run_that_is_over(situation: Situation) -> Step | None:
    """The spec changed where no number depends on it: another try after a failure, or other gates."""
    if not situation.is_run_over:
        return None
    failure, run = situation.status.failure, situation.run
    if failure is not None and not situation.is_spec_new:
        return Step(failed(situation, failure, run))
    report = stored_report(situation)
    if report is None:
        message = f"The spec has changed after run {run.number} failed: it runs again."
        return begin_next(situation, run, SPEC_CHANGED, message)
    return judge_stored(situation, report)


def refuse_names_that_are_taken(situation: Situation) -> Step | None:
    """An object under our name that is not ours is never adopted and never deleted."""
    for kind, thing in (("Job", situation.observed.job), ("ConfigMap", situation.observed.config)):
        if thing is not None and not is_controlled_by(thing, situation.uid):
            message = (
                f"{kind} {name_of(thing)} exists and does not belong to this finetune, which needs the name."
                f" Delete that {kind}, or give the finetune another name."
            )
            raise Stalled(NAME_TAKEN, message)
    return None


def wait_for_the_previous_job(situation: Situation) -> Step | None:
    """Two pods must never work at the same time for one finetune."""
    previous = situation.observed.previous_job
    if previous is None or not awaits_previous_job(situation.observed.finetune):
        return None
    if not is_controlled_by(previous, situation.uid):
        return None
    return Step(
        _still_pending(situation),
        delete=deletions(situation, "Job", previous),
        requeue_after_seconds=DELETION_POLL_SECONDS,
    )


def replace_an_outdated_job(situation: Situation) -> Step | None:
    """A Job of ours for another spec: made by a look that ended before its status was written."""
    job = situation.observed.job
    if job is None or spec_hash_of(job) == situation.run.spec_hash:
        return None
    message = f"Job {name_of(job)} was made for an earlier spec and is being replaced."
    return Step(
        on_its_way(situation, phase="Pending", reason=SPEC_CHANGED, message=message),
        delete=deletions(situation, "Job", job),
        requeue_after_seconds=DELETION_POLL_SECONDS,
    )


def wait_for_what_is_being_deleted(situation: Situation) -> Step | None:
    job, config = situation.observed.job, situation.observed.config
    if job is not None and is_being_deleted(job):
        raise _terminating("Job", job)
    if job is None and config is not None and is_being_deleted(config):
        raise _terminating("ConfigMap", config)
    return None


def replace_an_outdated_config(situation: Situation) -> Step | None:
    """A ConfigMap never changes, so that a run reads one thing only; before its Job it can be replaced."""
    job, config = situation.observed.job, situation.observed.config
    if job is not None or config is None or config.get("data") == config_map(situation)["data"]:
        return None
    return Step(
        _still_pending(situation),
        delete=deletions(situation, "ConfigMap", config),
        requeue_after_seconds=DELETION_POLL_SECONDS,
    )


def make_the_job(situation: Situation) -> Step:
    """ConfigMap first: the pod mounts it."""
    observed, run = situation.observed, situation.run
    missing = () if observed.config else (config_map(situation),)
    job = build_job(observed.finetune, situation.spec, run, situation.settings)
    reason, message = STARTING, starting_message(run.job)
    if run.start_time is not None:
        reason = JOB_RECREATED
        message = f"Job {run.job} was gone in the middle of the run and was made again: the run starts over."
    begun = run.model_copy(update={"start_time": run.start_time or format_time(situation.now)})
    status = on_its_way(situation, phase="Starting", reason=reason, message=message, run=begun)
    return Step(status, create=(*missing, job))


def starting_message(job: str) -> str:
    return f"Job {job} was made; its pod comes up."


def _still_pending(situation: Situation) -> FinetuneStatus:
    """What the status says already, of the present generation."""
    before = situation.reconciling
    reason = before.reason if before else STARTING
    message = before.message if before else starting_message(situation.run.job)
    return on_its_way(situation, phase="Pending", reason=reason, message=message)


def _terminating(kind: Kind, thing: Object) -> Waiting:
    since = created_at(thing)
    made = f" (made {format_time(since)})" if since else ""
    message = f"{kind} {name_of(thing)}{made} is still being deleted; the run goes on when it is gone."
    return Waiting(f"{kind}Terminating", message, DELETION_POLL_SECONDS)


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
