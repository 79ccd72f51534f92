"""From one report to what is known about a run: pure, and the only place that decides which report is newer.

- Of two pods of a run the one that was made later counts; what the older one still says is of the past.
- Within a pod nothing goes back, neither phase nor step nor checkpoint, and what a report leaves out stays.
- A report that was overtaken on its way, or is sent once more, changes nothing. Its pod's clock decides, but
  no later than our own: a time in the future must not outlive its report. A pod whose clock was set back is
  heard again with its next step or phase.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from finetune_api.status import RUNNING_PHASES, Phase, Progress
from finetune_operator.decisions.observed import LiveProgress, PostedReport
from finetune_operator.identity import Sender
from finetune_operator.wire import MAX_COUNT, Malformed, TrainerStatus

T = TypeVar("T")

DEFAULT_PHASE: Phase = "Training"
RATES = "_per_second"
"""How metrics end whose change alone does not mean that anything was done."""


def follow(
    status: TrainerStatus, sender: Sender, received_at: datetime, before: LiveProgress | None
) -> LiveProgress | None:
    """What is known after this report, or None when it tells nothing newer than `before`.

    Values that make no sense are left out. Raises Malformed for a phase that there is not.
    """
    live = _parse(status, sender, received_at)
    if before is None:
        return live
    if before.pod_uid != live.pod_uid:
        return live if live.pod_order > before.pod_order else None
    if status.last_updated_time < _said_at(before) and _reached(live) <= _reached(before):
        return None
    return _onwards(before, live)


def supersedes(report: PostedReport, kept: PostedReport | None) -> bool:
    """Whether a final Report takes the place of the one that is kept: a failure never that of a success."""
    if kept is None or report.report.outcome != "Failed":
        return True
    return kept.report.outcome == "Failed" and report.pod_order >= kept.pod_order


def _parse(status: TrainerStatus, sender: Sender, received_at: datetime) -> LiveProgress:
    phase = status.value("phase") or DEFAULT_PHASE
    if phase not in RUNNING_PHASES:
        raise Malformed(f"metric phase must be one of {', '.join(RUNNING_PHASES)}, found {phase}")
    checkpoint = status.count("checkpoint_step")
    return LiveProgress(
        phase=phase,
        progress=_progress(status),
        received_at=received_at,
        pod_uid=sender.pod_uid,
        changed_at=received_at,
        resumed_step=status.count("resumed_step"),
        checkpoint_step=checkpoint,
        checkpoint_at=None if checkpoint is None else received_at,
        pod_order=sender.pod_order,
        said_at=min(status.last_updated_time, received_at),
        content=_content(status),
    )


def _onwards(before: LiveProgress, live: LiveProgress) -> LiveProgress:
    """Of two equal positions the later report counts: its loss is the newer one."""
    received_at = live.received_at
    checkpoint = max(_known(live.checkpoint_step, before.checkpoint_step), default=None)
    is_saved, is_new = checkpoint != before.checkpoint_step, live.content != before.content
    return replace(
        live,
        phase=max(live.phase, before.phase, key=RUNNING_PHASES.index),
        progress=_further(before.progress, live.progress),
        changed_at=received_at if is_new else before.changed_at,
        resumed_step=live.resumed_step if before.resumed_step is None else before.resumed_step,
        checkpoint_step=checkpoint,
        checkpoint_at=received_at if is_saved else before.checkpoint_at,
        said_at=max(_said_at(live), _said_at(before)),
    )


def _further(before: Progress | None, now: Progress | None) -> Progress | None:
    """The last report of KubeflowCallback of transformers says 100 %, and leaves the step out."""
    if before is not None and now is not None and now.step is None:
        kept = {name: getattr(before, name) for name in ("step", "total_steps", "epoch")}
        now = now.model_copy(update=kept)
    return max(_known(now, before), key=_position, default=None)


def _progress(status: TrainerStatus) -> Progress | None:
    if status.progress_percentage is None:
        return None
    remaining = status.estimated_remaining_seconds
    return Progress(
        percent=status.progress_percentage,
        step=status.count("current_step"),
        total_steps=status.count("total_steps"),
        epoch=status.decimal("current_epoch"),
        loss=status.decimal("loss"),
        samples_per_second=status.decimal("samples_per_second"),
        remaining_seconds=None if remaining is None or remaining > MAX_COUNT else remaining,
    )


def _content(status: TrainerStatus) -> int:
    """A hash of what was done, without times and rates, which change also while nothing is done."""
    said = {(metric.name, metric.value) for metric in status.metrics if not metric.name.endswith(RATES)}
    return hash((status.progress_percentage, frozenset(said)))


def _reached(live: LiveProgress) -> tuple[int, tuple[int, int]]:
    return RUNNING_PHASES.index(live.phase), _position(live.progress) if live.progress else (0, 0)


def _position(progress: Progress) -> tuple[int, int]:
    return progress.step or 0, progress.percent


def _said_at(live: LiveProgress) -> datetime:
    return live.said_at or live.received_at


def _known(*values: T | None) -> Iterator[T]:
    return (value for value in values if value is not None)
