"""The runs before the present one, in `status.history`: what each came to, and what it took."""

from datetime import datetime
from typing import Literal

from finetune_api.results import Evaluation
from finetune_api.status import FinetuneStatus, PastResult, PastRun, Run
from finetune_operator.decisions.conditions import find
from finetune_operator.decisions.objects import format_time
from finetune_operator.decisions.texts import clip

Outcome = Literal["Published", "Measured", "GateFailed", "Failed", "Superseded"]

MOST_RUNS = 10
MAX_MESSAGE = 256


def with_past_run(
    history: list[PastRun], ended_with: FinetuneStatus, run: Run, why: str, now: datetime
) -> list[PastRun]:
    """The history with this run, newest first; one that never had a Job is none.

    ended_with: the last status that spoke of the run. why: one word, for a run that was not let to its end.
    """
    if run.start_time is None:
        return history
    return [_past_run(ended_with, run, why, now), *history][:MOST_RUNS]


def _past_run(status: FinetuneStatus, run: Run, why: str, now: datetime) -> PastRun:
    artifact, evaluation = status.artifact, status.evaluation
    outcome, reason, message = _outcome(status, run, why)
    return PastRun(
        number=run.number,
        spec_hash=run.spec_hash,
        outcome=outcome,
        reason=reason,
        message=clip(message, MAX_MESSAGE),
        primary=_headline(evaluation) if evaluation and evaluation.run == run.number else None,
        artifact=artifact.uri if artifact and artifact.run == run.number else None,
        attempts=run.attempt,
        active_seconds=run.active_seconds,
        start_time=run.start_time,
        completion_time=run.completion_time or format_time(now),
    )


def _outcome(status: FinetuneStatus, run: Run, why: str) -> tuple[Outcome, str, str]:
    """What it came to, the reason, and the words; from parts that a refused spec leaves as they are."""
    gates, published = find(status.conditions, "GatePassed"), find(status.conditions, "Published")
    if status.failure is not None:
        return "Failed", status.failure.reason, status.failure.message
    if run.completion_time is None:
        return "Superseded", why, ""
    if gates is not None and gates.status == "False":
        return "GateFailed", gates.reason, gates.message
    if status.artifact is not None and status.artifact.run == run.number:
        return "Published", "Published", gates.message if gates else ""
    return "Measured", "Measured", published.message if published else ""


def _headline(evaluation: Evaluation) -> PastResult:
    primary = evaluation.primary
    return PastResult(
        name=primary.name, compared_to=primary.compared_to, baseline=primary.baseline, tuned=primary.tuned,
        gain=primary.gain, gain_low=primary.gain_low, gain_high=primary.gain_high,
    )  # fmt: skip
