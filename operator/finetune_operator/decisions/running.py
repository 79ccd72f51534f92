"""A pod that has begun, but whose node does not answer, or which reports nothing new."""

from datetime import datetime, timedelta

from finetune_operator.decisions.explanations import Problem
from finetune_operator.decisions.objects import (
    deleted_by,
    format_time,
    name_of,
    namespace_of,
    true_condition,
)
from finetune_operator.decisions.observed import LiveProgress, Object, Observed
from finetune_operator.decisions.pods import started_at
from finetune_operator.decisions.texts import next_step

STUCK = "Stuck"
NODE_NOT_READY = "NodeNotReady"
NODE_LOST = "NodeLost"
OVERDUE_SECONDS = 30.0
"""A pod that is to be deleted and still there so long after its grace has a node that does not answer."""


def node_trouble(pod: Object, now: datetime) -> Problem | None:
    """Its node does not answer: the pod may run on or not, and only people can tell."""
    node = (pod.get("spec") or {}).get("nodeName") or "unknown"
    if (left := seconds_until_overdue(pod, now)) is not None and left <= 0:
        message = (
            f"Pod {name_of(pod)} was to be gone by {format_time(deleted_by(pod) or now)}, but its node {node}"
            " does not say that it has ended. No other pod is made until it does"
        )
        step = f"see `kubectl get node {node}`; if it will not come back, `kubectl delete node {node}`"
        return Problem(NODE_LOST, message, next_step(platform=step))
    if not (silent_since := _node_is_silent_since(pod)):
        return None
    message = f"Node {node} of pod {name_of(pod)} does not answer since {silent_since}"
    step = (
        f"see `kubectl get node {node}`. Kubernetes replaces the pod after five minutes, or as"
        " spec.runtime.pod.tolerations say"
    )
    return Problem(NODE_NOT_READY, message, next_step(platform=step))


def seconds_until_overdue(pod: Object, now: datetime) -> float | None:
    """Until a pod that is to be deleted has been waited for long enough; None for one that is to stay."""
    gone_by = deleted_by(pod)
    return None if gone_by is None else (gone_by - now).total_seconds() + OVERDUE_SECONDS


def _node_is_silent_since(pod: Object) -> str | None:
    """The node controller takes back Ready alone; a kubelet takes back ContainersReady with it."""
    if true_condition(pod, "ContainersReady") is None:
        return None
    conditions = (pod.get("status") or {}).get("conditions") or []
    ready = (c for c in conditions if (c.get("type"), c.get("status")) == ("Ready", "False"))
    return next((c.get("lastTransitionTime") or "an unknown time" for c in ready), None)


def quiet_since(observed: Observed, pod: Object, live: LiveProgress | None) -> datetime:
    """When this running pod last told something new; while nobody listened, it could not."""
    if live is not None:
        return live.changed_at
    return max(started_at(pod) or observed.now, observed.listening_since)


def stuck(pod: Object, since: datetime, limit: int, live: LiveProgress | None) -> Problem:
    """It runs and says nothing: that is told, and not ended."""
    message = (
        f"Pod {name_of(pod)} has reported nothing new since {format_time(since)}{_where(live)}, for more than"
        f" {limit} s (spec.limits.stuckSeconds); it is not stopped"
    )
    you = (
        f"see `kubectl logs {name_of(pod)} -n {namespace_of(pod)}`; if it is at work, raise"
        " spec.limits.stuckSeconds, else delete the pod: another one follows, which counts as no retry"
    )
    return Problem(STUCK, message, next_step(you=you, platform="see the GPU and the storage of its node"))


def _where(live: LiveProgress | None) -> str:
    if live is None:
        return ""
    step = live.progress.step if live.progress else None
    return f", in phase {live.phase}" + (f" at step {step}" if step is not None else "")


def at_most(seconds: float, *others: float | None) -> float:
    """The earliest of these times to look again that is still to come."""
    return min([seconds, *(other for other in others if other is not None and other > 0)])


def stuck_in(since: datetime, limit: int, now: datetime) -> float:
    """Seconds until a pod that says nothing more counts as stuck."""
    return (since + timedelta(seconds=limit) - now).total_seconds()
