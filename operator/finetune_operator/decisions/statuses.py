"""Whole statuses, each from the stored one: on its way, failed, refused, and the next run begun."""

from collections.abc import Sequence
from datetime import datetime

from finetune_api.results import Failure
from finetune_api.status import Condition, FinetuneStatus, Phase, Progress, Run
from finetune_operator.decisions import conditions
from finetune_operator.decisions.conditions import Verdict, find, set_condition
from finetune_operator.decisions.history import with_past_run
from finetune_operator.decisions.objects import format_time
from finetune_operator.decisions.runs import children_name
from finetune_operator.decisions.situation import Situation
from finetune_operator.decisions.texts import as_next_step, sentence

NOT_DECIDED = "NotDecided"


def on_its_way(
    situation: Situation,
    *,
    phase: Phase,
    reason: str,
    message: str,
    run: Run | None = None,
    progress: Progress | None = None,
) -> FinetuneStatus:
    """The run goes on, or waits for something. What was measured and published before stays."""
    run = run or (situation.run if situation.status.run else None)
    found = conditions.progressing(situation.status.conditions, reason, message, situation.stamp)
    return situation.status.model_copy(
        update={
            "observed_generation": situation.generation,
            "phase": phase,
            "run": run,
            "progress": progress,
            "failure": None,
            "conditions": with_verdicts(found, _undecided(situation, run or situation.run), situation),
        }
    )


def suspended(situation: Situation, message: str) -> FinetuneStatus:
    """The run pauses: what it has done so far is kept, and the one to begin is decided."""
    found = conditions.suspended(situation.status.conditions, message, situation.stamp)
    return situation.status.model_copy(
        update={
            "observed_generation": situation.generation,
            "phase": "Suspended",
            "run": situation.run,
            "failure": None,
            "conditions": with_verdicts(found, _undecided(situation, situation.run), situation),
        }
    )


def _undecided(situation: Situation, run: Run) -> tuple[Verdict, ...]:
    published = f"Run {run.number} has published nothing yet.{_still_published(situation)}"
    return (
        Verdict("GatePassed", "Unknown", NOT_DECIDED, f"Run {run.number} has not been judged yet."),
        Verdict("Published", "Unknown", NOT_DECIDED, published),
    )


def failed(situation: Situation, failure: Failure, run: Run) -> FinetuneStatus:
    """The run is over without a result: nothing happens until somebody changes something."""
    text = f"{sentence(failure.message)} {as_next_step(failure.hint)}".strip()
    published = f"Run {run.number} published nothing.{_still_published(situation)}"
    verdicts = (
        Verdict(
            "GatePassed", "Unknown", NOT_DECIDED, f"Run {run.number} failed before its gates were decided."
        ),
        Verdict("Published", "False", failure.reason, published),
    )
    found = conditions.stalled(situation.status.conditions, failure.reason, text, situation.stamp)
    return situation.status.model_copy(
        update={
            "observed_generation": situation.generation,
            "phase": "Failed",
            "run": run,
            "failure": failure,
            "conditions": with_verdicts(found, verdicts, situation),
        }
    )


def refused(situation: Situation, reason: str, message: str) -> FinetuneStatus:
    """Nothing can be started as things are. What became of the run before stays, `failure` included."""
    stored = situation.status.conditions
    verdicts = (
        _as_it_was(stored, Verdict("GatePassed", "Unknown", NOT_DECIDED, "Nothing has been judged yet.")),
        _as_it_was(stored, Verdict("Published", "Unknown", NOT_DECIDED, "Nothing has been published yet.")),
    )
    found = conditions.stalled(stored, reason, message, situation.stamp)
    return situation.status.model_copy(
        update={
            "observed_generation": situation.generation,
            "phase": "Failed",
            "conditions": with_verdicts(found, verdicts, situation),
        }
    )


def next_run(
    situation: Situation, run: Run, reason: str, message: str, ended_with: FinetuneStatus
) -> FinetuneStatus:
    """The run to follow this one, decided but without a Job yet: that of the present one must go first.

    A run that never had a Job hands its number on, so that the one before it is still waited for.
    ended_with: the last status that spoke of the run.
    """
    number = run.number + (1 if run.start_time else 0)
    job = children_name(situation.observed.finetune, number)
    following = Run(number=number, spec_hash=situation.spec_hash, job=job)
    status = on_its_way(situation, phase="Pending", reason=reason, message=message, run=following)
    history = with_past_run(situation.status.history, ended_with, run, reason, situation.now)
    return status.model_copy(update={"history": history})


def ended(run: Run, at: datetime) -> Run:
    """The run, over; one that was over before keeps its time."""
    return run.model_copy(
        update={
            "start_time": run.start_time or format_time(at),
            "completion_time": run.completion_time or format_time(at),
        }
    )


def with_verdicts(
    found: Sequence[Condition], verdicts: Sequence[Verdict], situation: Situation
) -> list[Condition]:
    """The conditions with these set."""
    result = list(found)
    for verdict in verdicts:
        result = set_condition(result, verdict, situation.stamp)
    return result


def _as_it_was(stored: Sequence[Condition], otherwise: Verdict) -> Verdict:
    before = find(stored, otherwise.type)
    return Verdict(otherwise.type, before.status, before.reason, before.message) if before else otherwise


def _still_published(situation: Situation) -> str:
    artifact = situation.status.artifact
    return f" The model of run {artifact.run} stays published at {artifact.uri}." if artifact else ""
