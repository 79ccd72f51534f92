"""Why a run's pod does not start, or why there is none: from pod, Job and the Events about them."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from finetune_operator.decisions.explanations import Problem, explain
from finetune_operator.decisions.images import PULL_REASONS, image_problem
from finetune_operator.decisions.objects import is_being_deleted, name_of, namespace_of, parse_time, uid_of
from finetune_operator.decisions.observed import Object
from finetune_operator.decisions.pods import container_state
from finetune_operator.decisions.scheduling import scheduling_gated, unschedulable
from finetune_operator.decisions.texts import next_step, without_credentials

_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_COMING_UP = ("ContainerCreating", "PodInitializing")
# Of no weight once the pod has its node: the scheduler's word may come after the node's own trouble.
_OF_SCHEDULER = {"Scheduled", "FailedScheduling"}
# Warnings that keep nothing from starting; they may be newer than the one that does.
_HARMLESS = {"DNSConfigForming", "FailedToRetrieveImagePullSecret", "PolicyViolation", "Unhealthy"}
_PLAIN_HINT = (
    "You: see `kubectl describe {kind} {name} -n {namespace}`; the run goes on by itself once it is mended."
)


def problem_of(job: Object, pod: Object | None, events: Sequence[Object]) -> Problem | None:
    """Why the newest pod does not start, or why there is none; None when nothing speaks against it.

    The pod's own state goes before Events, which stay for an hour and may be of the past.
    """
    if pod is None:
        return _from_events(events, job, "job")
    if is_being_deleted(pod):
        return None
    return _from_scheduler(pod) or _from_container(pod) or _from_events(events, pod, "pod")


def _from_scheduler(pod: Object) -> Problem | None:
    conditions = (pod.get("status") or {}).get("conditions") or []
    told = (c for c in conditions if (c.get("type"), c.get("status")) == ("PodScheduled", "False"))
    for condition in told:
        if condition.get("reason") == "Unschedulable":
            return _of_scheduler(pod, condition.get("message") or "")
        if condition.get("reason") == "SchedulingGated":
            return scheduling_gated(pod)
    return None


def _of_scheduler(pod: Object, text: str) -> Problem:
    """What is wrong with the pod's claims stands before what the nodes lack."""
    text = without_credentials(text)
    return explain(text, namespace_of(pod)) or unschedulable(pod, text)


def _from_container(pod: Object) -> Problem | None:
    waiting = container_state(pod).get("waiting") or {}
    reason, text = waiting.get("reason") or "", waiting.get("message") or ""
    if not reason or reason in _COMING_UP:
        return None
    if reason in PULL_REASONS:
        return image_problem(pod, reason, text)
    return explain(text, namespace_of(pod)) or _plain(reason, text, pod, "pod")


def _from_events(events: Sequence[Object], about: Object, kind: str) -> Problem | None:
    """Only the newest Event counts: a warning before it may be mended already."""
    told = [e for e in events if (e.get("involvedObject") or {}).get("uid") == uid_of(about)]
    past = _OF_SCHEDULER if (about.get("spec") or {}).get("nodeName") else set()
    counts = (e for e in told if e.get("reason") not in _HARMLESS | past)
    newest = max(counts, key=_event_order, default=None)
    if newest is None or newest.get("type") != "Warning":
        return None
    reason, text = newest.get("reason") or "", newest.get("message") or ""
    if reason == "FailedScheduling":
        return _of_scheduler(about, text)
    return explain(text, namespace_of(about)) or _plain(reason, text, about, kind)


def _event_order(event: Object) -> tuple[datetime, bool]:
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    seen = max((t for t in map(parse_time, times) if t), default=_LONG_AGO)
    # Some writers know microseconds and others whole seconds: within a second nobody is first.
    return seen.replace(microsecond=0), event.get("type") == "Warning"


def _plain(reason: str, text: str, about: Object, kind: str) -> Problem:
    """Nothing known: the cluster's own words, under its own reason."""
    letters = re.sub(r"[^A-Za-z]", "", reason)[:60]
    reason = f"{letters[:1].upper()}{letters[1:]}" if len(letters) > 1 else "PodNotStarting"
    see = f"see `kubectl describe {kind} {name_of(about)} -n {namespace_of(about)}`"
    hint = next_step(you=f"{see}; the run goes on by itself once that is mended")
    what = f"Pod {name_of(about)} does not start" if kind == "pod" else f"Job {name_of(about)} makes no pod"
    return Problem(reason, f"{what}: {without_credentials(text) or reason}", hint)
