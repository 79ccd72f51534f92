"""What runs came to and what they took, counted with each status that is written.

These exist without the series of single finetunes and outlive a finetune that is deleted. They begin at 0
with the process, as counters may.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, get_args

from finetune_operator.decisions.failures import failure_of_attempt
from finetune_operator.decisions.history import Outcome
from finetune_operator.decisions.objects import parse_time
from finetune_operator.decisions.observed import Observed
from finetune_operator.decisions.pods import newest_finished
from finetune_operator.memory import gpus_of
from finetune_operator.metrics.registry import Registry

Status = dict[str, Any]

MINUTE, HOUR = 60.0, 3600.0
# From a run that fails at once to one of days.
DURATION_BUCKETS = (
    10.0, 30.0, MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE,
    HOUR, 2 * HOUR, 4 * HOUR, 8 * HOUR, 24 * HOUR, 72 * HOUR,
)  # fmt: skip
WAITING_BUCKETS = (1.0, 5.0, 15.0, MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 4 * HOUR, 24 * HOUR)
MAX_REASONS = 64
OTHER, POD_GONE = "Other", "PodGone"


class RunMetrics:
    """Of all finetunes together."""

    def __init__(self, registry: Registry) -> None:
        self.ended = registry.counter(
            "runs",
            "Runs that ended since the operator began: Published, Measured (passed, with nothing to publish"
            " to), GateFailed, Failed, Superseded (the spec changed before the end).",
            "namespace", "outcome",
        )  # fmt: skip
        self.duration = registry.histogram(
            "run_duration_seconds",
            "Time of a run from its Job to its end, waiting included.",
            "outcome",
            buckets=DURATION_BUCKETS,
        )
        self.waiting = registry.histogram(
            "run_waiting_seconds",
            "Share of a run's time in which no pod of it ran: queue, scheduling, images, suspension.",
            buckets=WAITING_BUCKETS,
        )
        self.gpu = registry.counter(
            "namespace_gpu_seconds",
            "Seconds that pods of runs have run since the operator began, times their GPUs.",
            "namespace",
        )
        self.wasted = registry.counter(
            "namespace_wasted_gpu_seconds",
            "GPU seconds since the operator began whose work was lost, without a newer checkpoint.",
            "namespace",
        )
        self.retries = registry.counter(
            "run_retries",
            "Attempts that failed since the operator began and count against limits.retries.",
            "reason",
        )
        self.interruptions = registry.counter(
            "run_interruptions",
            "Attempts since the operator began that were evicted, pre-empted, suspended or stopped.",
            "namespace",
        )
        self.lost_steps = registry.counter(
            "run_lost_steps",
            "Training steps since the operator began that had to be done again.",
            "namespace",
        )
        self._reasons: set[str] = set()

    def count(self, observed: Observed, after: Status) -> None:
        """after: the status that was written."""
        finetune = observed.finetune
        before, namespace = finetune.get("status") or {}, finetune["metadata"]["namespace"]
        grown, gpus = _growth(before, after), gpus_of(finetune.get("spec") or {})
        active = grown("activeSeconds") + _last_seconds(before, after)
        self.gpu.labels(namespace).inc(active * gpus)
        self.wasted.labels(namespace).inc(grown("wastedSeconds") * gpus)
        self.interruptions.labels(namespace).inc(grown("interruptions"))
        self.lost_steps.labels(namespace).inc(grown("lostSteps"))
        for each in get_args(Outcome):
            self.ended.labels(namespace, each)  # a rate needs the 0 before the first
        if retries := grown("retries"):
            self.retries.labels(self._bounded(reason_of(observed, after))).inc(retries)
        if superseded(before, after):
            self.ended.labels(namespace, "Superseded").inc()
        if outcome := outcome_of(before, after):
            self.ended.labels(namespace, outcome).inc()
            self._observe(outcome, after["run"])

    def _bounded(self, reason: str) -> str:
        """The reason, or OTHER once there are enough: an image may leave any that it likes."""
        if reason not in self._reasons and len(self._reasons) >= MAX_REASONS:
            return OTHER
        self._reasons.add(reason)
        return reason

    def _observe(self, outcome: str, run: dict[str, Any]) -> None:
        start, end = _time(run, "startTime"), _time(run, "completionTime")
        if start is None or end is None:
            return
        seconds = max(0.0, (end - start).total_seconds())
        self.duration.labels(outcome).observe(seconds)
        self.waiting.observe(max(0.0, seconds - run.get("activeSeconds", 0)))


def _growth(before: Status, after: Status) -> Callable[[str], int]:
    """How much a count of the present run grew; all of it when it is the first status of that run."""
    run, former = after.get("run") or {}, before.get("run") or {}
    is_same = run.get("number") == former.get("number")
    return lambda field: max(0, run.get(field, 0) - (former.get(field, 0) if is_same else 0))


def _last_seconds(before: Status, after: Status) -> int:
    """What a run that was stopped for another one ran since it was last written."""
    run, past = before.get("run") or {}, _newest_past(before, after)
    if past.get("number") != run.get("number"):
        return 0
    ran: int = past.get("activeSeconds", 0) - run.get("activeSeconds", 0)
    return max(0, ran)


def outcome_of(before: Status, after: Status) -> Outcome | None:
    """How the run ended with this status; None when it did not, or had before."""
    run, former = after.get("run") or {}, before.get("run") or {}
    was_over = former.get("completionTime") and former.get("number") == run.get("number")
    if not run.get("completionTime") or was_over:
        return None
    if after.get("phase") != "Ready":
        return "GateFailed" if after.get("phase") == "GateFailed" else "Failed"
    return "Published" if (after.get("artifact") or {}).get("run") == run["number"] else "Measured"


def superseded(before: Status, after: Status) -> bool:
    """Whether a run became history before its end."""
    return _newest_past(before, after).get("outcome") == "Superseded"


def _newest_past(before: Status, after: Status) -> Status:
    """The run that became history with this status; empty when none did."""
    newest: Status = next(iter(after.get("history") or []), {})
    known = {run.get("number") for run in before.get("history") or []}
    return newest if newest.get("number") not in known else {}


def reason_of(observed: Observed, after: Status) -> str:
    """Why the newest attempt failed; POD_GONE when no pod is left to tell."""
    pod = newest_finished(observed.pods)
    return POD_GONE if pod is None else failure_of_attempt(pod, observed, after["run"]["number"]).reason


def _time(run: dict[str, Any], field: str) -> datetime | None:
    return parse_time(run.get(field))
