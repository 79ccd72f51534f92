"""Which run there should be: the rules of `plan` that come before any look at its Job."""

from finetune_api.arguments import check_args
from finetune_api.refusals import Refused
from finetune_operator.decisions.accounting import stop
from finetune_operator.decisions.gate_rules import judge_stored
from finetune_operator.decisions.objects import (
    is_being_deleted,
    is_controlled_by,
    is_left_by_namesake,
    name_of,
)
from finetune_operator.decisions.observed import Object
from finetune_operator.decisions.outcome import stored_report
from finetune_operator.decisions.runs import NAME_TAKEN
from finetune_operator.decisions.situation import Situation
from finetune_operator.decisions.statuses import failed
from finetune_operator.decisions.steps import DELETION_POLL_SECONDS, Step, begin_next
from finetune_operator.errors import Stalled, Waiting

SPEC_CHANGED = "SpecChanged"


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
        told = (
            f"The spec is not valid: {refused.message} ({refused.hint}). You: correct it and apply it again."
        )
        raise Stalled("InvalidSpec", told) from refused
    return None


def refuse_code_that_is_not_allowed(situation: Situation) -> Step | None:
    """The trainer refuses it too; a run that was let through goes on with what its ConfigMap says."""
    if not situation.spec.model.trust_remote_code or situation.settings.allow_remote_code:
        return None
    if situation.is_let_through:
        return None
    told = (
        "`model.trustRemoteCode` is not allowed here. You: take a model without code of its own."
        " Platform team: or set the chart's allowRemoteCode."
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
    if failure is not None and (situation.spec.suspend or not situation.is_spec_new):
        return Step(failed(situation, failure, run))
    report = stored_report(situation)
    if report is None:
        message = f"The spec has changed after run {run.number} failed: it runs again."
        return begin_next(situation, run, SPEC_CHANGED, message)
    return judge_stored(situation, report)


def refuse_names_that_are_taken(situation: Situation) -> Step | None:
    """An object under our name that is not ours is never adopted and never deleted."""
    for kind, thing in (("Job", situation.observed.job), ("ConfigMap", situation.observed.config)):
        if thing is not None and is_left_by_namesake(thing, situation.observed.finetune):
            raise left_by_namesake(kind, thing)
        if thing is not None and not is_controlled_by(thing, situation.uid):
            message = (
                f"{kind} {name_of(thing)} exists and does not belong to this finetune, which needs the name."
                f" You: delete that {kind}, or give the finetune another name."
            )
            raise Stalled(NAME_TAKEN, message)
    return None


def left_by_namesake(kind: str, thing: Object) -> Waiting:
    """What says so; the garbage collector deletes it."""
    message = (
        f"{kind} {name_of(thing)} is left of a finetune of the same name that was deleted;"
        " the run starts when Kubernetes has collected it."
    )
    return Waiting(f"{kind}Terminating", message, DELETION_POLL_SECONDS)
