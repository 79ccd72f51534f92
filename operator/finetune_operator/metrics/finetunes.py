"""The series of one finetune: at most MAX_SERIES, whatever its spec and status hold.

What a run counts begins again at 0 with the next run, as counters may. A phase or a condition has one series,
whose label says which; times are timestamps, so that a query tells how long ago.
"""

from collections.abc import Iterator
from datetime import datetime

from finetune_api.evaluator_types import name_parts
from finetune_api.results import Evaluation
from finetune_api.status import FinetuneStatus, PastRun, Progress, Run
from finetune_operator.decisions import conditions
from finetune_operator.decisions.objects import parse_time
from finetune_operator.decisions.observed import LiveProgress
from finetune_operator.decisions.runs import stored_status
from finetune_operator.memory import Known
from finetune_operator.metrics.family import OF, PREFIX, Family

MAX_SERIES = 40
MAX_EVALUATION_SERIES = 14
"""Scores, gains and gates; what an evaluation has beyond it is in status and in the full report."""
MAX_LABEL = 256

_families: list[Family] = []


def _family(kind: str, name: str, text: str, *labels: str) -> Family:
    family = Family(f"{PREFIX}{name}", "counter" if kind == "counter" else "gauge", text, (*OF, *labels))
    _families.append(family)
    return family


INFO = _family(
    "gauge", "info", "What is tuned: always 1. loss is empty where the spec names none.",
    "uid", "base_model", "model_type", "loss", "gpu_resource",
)  # fmt: skip
PHASE = _family("gauge", "status_phase", "1 for the phase it is in, and why.", "phase", "reason")
CONDITION = _family(
    "gauge", "status_condition", "1 for the status that the condition has: True, False or Unknown.",
    "condition", "status",
)  # fmt: skip
RUN = _family("gauge", "run_number", "Number of the present run.")
ATTEMPT = _family("gauge", "run_attempt", "Pods that the present run has had.")
CREATED = _family("gauge", "created_timestamp_seconds", "When it was created.")
START = _family("gauge", "start_timestamp_seconds", "When the Job of the present run was made.")
COMPLETION = _family("gauge", "completion_timestamp_seconds", "When the present run ended.")
PUBLISHED = _family("gauge", "published_timestamp_seconds", "When the model that is published now was made.")
LAST_PROGRESS = _family(
    "gauge", "last_progress_timestamp_seconds", "When a pod of the present run last reported."
)
LAST_CHECKPOINT = _family(
    "gauge",
    "last_checkpoint_timestamp_seconds",
    "When the newest checkpoint of the present run was made known.",
)
ACTIVE = _family("counter", "active_seconds_total", "Seconds that pods of the present run have run.")
GPU = _family(
    "counter", "gpu_seconds_total", "Seconds that pods of the present run have run, times their GPUs."
)
WASTED = _family(
    "counter", "wasted_gpu_seconds_total",
    "GPU seconds of the present run whose work was lost, as attempts ended without a newer checkpoint.",
)  # fmt: skip
RETRIES = _family("counter", "retries_total", "Attempts of the present run that failed and count.")
INTERRUPTIONS = _family(
    "counter", "interruptions_total", "Attempts of the present run that were evicted, pre-empted or stopped."
)
LOST_STEPS = _family(
    "counter", "lost_steps_total", "Training steps of the present run that had to be done again."
)
PROGRESS = _family("gauge", "progress_ratio", "Share of the training steps of the present run.")
LOSS = _family("gauge", "training_loss", "Last training loss of the present run.")
SPEED = _family("gauge", "samples_per_second", "Rows that the present run trains on in a second.")
REMAINING = _family("gauge", "training_remaining_seconds", "Estimate for the rest of the training.")
SCORE = _family(
    "gauge", "evaluation_score",
    "What was measured last, by model: base, published (before this run), tuned.",
    "evaluator", "metric", "model",
)  # fmt: skip
GAIN = _family(
    "gauge", "evaluation_gain", "Primary metric, tuned minus what it is compared with.", "evaluator", "metric"
)
GAIN_LOW = _family(
    "gauge", "evaluation_gain_low", "Lower end of the gain's 95 % interval.", "evaluator", "metric"
)
GAIN_HIGH = _family(
    "gauge", "evaluation_gain_high", "Upper end of the gain's 95 % interval.", "evaluator", "metric"
)
GATE = _family(
    "gauge", "gate_passed", "1 where all gates on this metric hold, else 0.", "evaluator", "metric", "group"
)
FAMILIES = tuple(_families)

Sample = tuple[Family, tuple[str, ...], float]
"""Family, values of its labels beyond OF, value."""


def samples(known: Known, live: LiveProgress | None) -> Iterator[Sample]:
    """Everything about one finetune; live: what its pods said since status was written."""
    status = stored_status({"status": known.status})
    yield INFO, (known.uid, known.base_model[:MAX_LABEL], known.model_type, known.loss, known.gpu_resource), 1
    yield from _time(CREATED, parse_time(known.created))
    yield from _state(status)
    if status.run is not None:
        yield from _run(status.run, known.gpus, live)
    yield from _progress((live.progress if live else None) or status.progress, live)
    yield from _time(PUBLISHED, _published_at(status))
    if status.evaluation is not None:
        yield from _evaluation(status.evaluation)


def _state(status: FinetuneStatus) -> Iterator[Sample]:
    reasons = [c.reason for c in status.conditions if c.type == "Ready"]
    if status.phase is not None:
        yield PHASE, (status.phase, *(reasons or [""])), 1
    for condition in status.conditions:
        if condition.type in conditions.TYPES:
            yield CONDITION, (condition.type, condition.status), 1


def _run(run: Run, gpus: int, live: LiveProgress | None) -> Iterator[Sample]:
    counted = {
        RUN: run.number,
        ATTEMPT: run.attempt,
        ACTIVE: run.active_seconds,
        GPU: run.active_seconds * gpus,
        WASTED: run.wasted_seconds * gpus,
        RETRIES: run.retries,
        INTERRUPTIONS: run.interruptions,
        LOST_STEPS: run.lost_steps,
    }
    yield from ((family, (), value) for family, value in counted.items())
    checkpoint = (live.checkpoint_at if live else None) or parse_time(run.checkpoint_time)
    yield from _time(START, parse_time(run.start_time))
    yield from _time(COMPLETION, parse_time(run.completion_time))
    yield from _time(LAST_CHECKPOINT, checkpoint)


def _progress(progress: Progress | None, live: LiveProgress | None) -> Iterator[Sample]:
    if progress is not None:
        yield PROGRESS, (), progress.percent / 100
        yield from _decimal(LOSS, (), progress.loss)
    if live is not None:
        yield from _time(LAST_PROGRESS, live.received_at)
        yield from _decimal(SPEED, (), progress.samples_per_second if progress else None)
        if progress is not None and progress.remaining_seconds is not None:
            yield REMAINING, (), progress.remaining_seconds


def _published_at(status: FinetuneStatus) -> datetime | None:
    """The end of the run that made it; None when that run is no longer in the history."""
    if status.artifact is None:
        return None
    runs: list[Run | PastRun] = [*([status.run] if status.run else []), *status.history]
    ends = (run.completion_time for run in runs if run.number == status.artifact.run)
    return parse_time(next(ends, None))


def _evaluation(evaluation: Evaluation) -> Iterator[Sample]:
    """Whole metrics and gates, the most important first, as far as they go."""
    left = MAX_EVALUATION_SERIES
    for part in (list(_primary(evaluation)), *_gates(evaluation), *_further(evaluation)):
        left -= len(part)
        if left < 0:
            return
        yield from part


def _primary(evaluation: Evaluation) -> Iterator[Sample]:
    primary, compared = evaluation.primary, _compared(evaluation)
    labels = _words(primary.name)  # those of the spec
    yield from _decimal(SCORE, (*labels, "tuned"), primary.tuned)
    yield from _decimal(SCORE, (*labels, compared), primary.baseline)
    if compared != "base":
        yield from _decimal(SCORE, (*labels, "base"), primary.base)
    yield from _decimal(GAIN, labels, primary.gain)
    yield from _decimal(GAIN_LOW, labels, primary.gain_low)
    yield from _decimal(GAIN_HIGH, labels, primary.gain_high)


def _gates(evaluation: Evaluation) -> list[list[Sample]]:
    """Those that fail first; several on the same metric are one series."""
    passed: dict[tuple[str, str, str], bool] = {}
    for gate in evaluation.gates:
        labels = (gate.evaluator, gate.metric, gate.group or "")
        passed[labels] = passed.get(labels, True) and gate.passed
    return [[(GATE, labels, float(ok))] for labels, ok in sorted(passed.items(), key=lambda item: item[1])]


def _further(evaluation: Evaluation) -> Iterator[list[Sample]]:
    """Other metrics at the headline's dimension, over all of the data."""
    seen = {_words(evaluation.primary.name)}
    for metric in evaluation.metrics:
        parts, labels = name_parts(metric.name), _words(metric.name)
        if labels in seen or parts.dimension is not None or parts.group is not None:
            continue
        seen.add(labels)
        tuned = _decimal(SCORE, (*labels, "tuned"), metric.tuned)
        yield [*tuned, *_decimal(SCORE, (*labels, _compared(evaluation)), metric.baseline)]


def _compared(evaluation: Evaluation) -> str:
    return "published" if evaluation.primary.compared_to == "Published" else "base"


def _words(name: str) -> tuple[str, str]:
    parts = name_parts(name)
    return parts.evaluator, parts.metric


def _decimal(family: Family, labels: tuple[str, ...], text: str | None) -> Iterator[Sample]:
    try:
        value = float(text) if text is not None else None
    except ValueError:
        return
    if value is not None:
        yield family, labels, value


def _time(family: Family, time: datetime | None) -> Iterator[Sample]:
    if time is not None:
        yield family, (), time.timestamp()
