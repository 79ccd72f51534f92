"""What one rule of `plan` answers with."""

from dataclasses import dataclass
from typing import Literal

from finetune_api.results import Failure
from finetune_api.status import FinetuneStatus, Run
from finetune_operator.decisions.accounting import stop
from finetune_operator.decisions.objects import is_being_deleted, is_controlled_by, name_of, uid_of
from finetune_operator.decisions.observed import Object
from finetune_operator.decisions.situation import Situation
from finetune_operator.decisions.statuses import ended, failed, next_run

Kind = Literal["Job", "ConfigMap"]

DELETION_POLL_SECONDS = 2.0
"""Between looks for an object that is going away; its last event usually comes first."""


@dataclass(frozen=True)
class Deletion:
    """An object to delete in the foreground, only if it still has this uid."""

    kind: Kind
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True)
class Step:
    """The status to have and what to do; `plan` leaves out what would change nothing."""

    status: FinetuneStatus
    create: tuple[Object, ...] = ()
    delete: tuple[Deletion, ...] = ()
    requeue_after_seconds: float | None = None


def deletions(situation: Situation, kind: Kind, thing: Object | None) -> tuple[Deletion, ...]:
    """What it takes to be rid of it: nothing when it is gone or going. What is not ours is never touched."""
    if thing is None or is_being_deleted(thing) or not is_controlled_by(thing, situation.uid):
        return ()
    return (Deletion(kind, situation.namespace, name_of(thing), uid_of(thing)),)


def be_rid_of(situation: Situation, kind: Kind, thing: Object | None, status: FinetuneStatus) -> Step:
    """What goes on can only do so once it is gone: look again until then."""
    return Step(status, delete=deletions(situation, kind, thing), requeue_after_seconds=DELETION_POLL_SECONDS)


def give_up(situation: Situation, failure: Failure) -> Step:
    """The run fails by our decision, so its Job goes."""
    run = ended(stop(situation.run, situation.now), situation.now)
    return Step(failed(situation, failure, run), delete=deletions(situation, "Job", situation.observed.job))


def leftovers(situation: Situation) -> tuple[Deletion, ...]:
    """What it takes to be rid of all that the present run has in the cluster."""
    observed = situation.observed
    return (
        *deletions(situation, "Job", observed.job),
        *deletions(situation, "ConfigMap", observed.config),
    )


def begin_next(
    situation: Situation, run: Run, reason: str, message: str, ended_with: FinetuneStatus | None = None
) -> Step:
    """Be rid of what this run left and decide the next one; its Job comes with the next look.

    ended_with: the status that the run ends with at this moment; None: the stored one speaks of its end.
    """
    return Step(
        next_run(situation, run, reason, message, ended_with or situation.status),
        delete=leftovers(situation),
        requeue_after_seconds=0.0,
    )
