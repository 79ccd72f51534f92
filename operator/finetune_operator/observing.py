"""What a look begins with: all that `plan` may ask about, from what watches told or from the API server."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from finetune_operator.decisions.objects import created_at, uid_of
from finetune_operator.decisions.observed import Object, Observed
from finetune_operator.decisions.pods import end_time, is_running, newest_finished, unfinished_pod, works_for
from finetune_operator.decisions.runs import awaits_previous_job, children_name, run_number
from finetune_operator.kube import Kube
from finetune_operator.memory import Memory, key_of
from finetune_operator.settings import Settings
from finetune_operator.views import JOB_NAME_LABEL, View


@dataclass(frozen=True)
class Surroundings:
    """What `reconcile` works with; the same for every key."""

    kube: Kube
    settings: Settings
    memory: Memory
    ca_certificate: str
    listening_since: datetime
    """When this replica began to take reports."""
    now: Callable[[], datetime]
    may_act: Callable[[], bool]
    """Whether this replica still leads. A process that was stopped for a while must not write on."""
    written: Callable[[Observed, dict[str, Any]], None] = lambda *_: None
    """Told of each status that was written, and of what it followed from."""


def observe(view: View, around: Surroundings) -> Observed | None:
    """All that `plan` may ask about, from the view; None when only the API server can tell."""
    name, finetune = children_name(view.finetune), view.finetune
    is_first = not (finetune.get("status") or {}).get("run")
    if awaits_previous_job(finetune) or not (is_first or name in view.complete):
        return None
    found = _Found(view.child("Job", name), view.pods_of(name), view.child("ConfigMap", name))
    return _observed(finetune, found, around)


def read(finetune: Object, around: Surroundings) -> Observed:
    """The same, from the API server by deterministic names."""
    kube, (namespace, name) = around.kube, (finetune["metadata"]["namespace"], children_name(finetune))
    job = kube.get("Job", namespace, name)
    pods = kube.list("Pod", namespace, labels=f"{JOB_NAME_LABEL}={name}")
    previous = None
    if awaits_previous_job(finetune):
        previous = kube.get("Job", namespace, children_name(finetune, run_number(finetune) - 1))
    config = kube.get("ConfigMap", namespace, name)
    children = [("Job", job), *(("Pod", pod) for pod in pods), ("ConfigMap", config)]
    around.memory.views.read(key_of(finetune), finetune, name, [(k, c) for k, c in children if c is not None])
    return _observed(finetune, _Found(job, pods, config, previous), around)


class _Found(NamedTuple):
    """Children of the present run, and the Job of the one before."""

    job: Object | None
    pods: tuple[Object, ...]
    config: Object | None
    previous: Object | None = None


def _observed(finetune: Object, found: _Found, around: Surroundings) -> Observed:
    live, report = around.memory.reported(uid_of(finetune), run_number(finetune))
    now, job, uid = around.now(), found.job, uid_of(finetune)
    pods = tuple(pod for pod in found.pods if works_for(pod, uid))
    is_late = job is not None and _is_late(job, pods, now, around.settings)
    return Observed(
        finetune=finetune,
        job=job,
        config=found.config,
        previous_job=found.previous,
        pods=pods,
        pods_of_others=tuple(pod for pod in found.pods if not works_for(pod, uid)),
        events=_events(around.kube, job, pods) if job and is_late else (),
        report=report,
        live=live,
        ca_certificate=around.ca_certificate,
        now=now,
        listening_since=around.listening_since,
        service_account=None if job else _service_account(finetune, around.kube),
    )


def _service_account(finetune: Object, kube: Kube) -> Object | None:
    """Never from a watch: whom a pod runs as is decided by what the account says now."""
    name = (finetune["spec"].get("runtime") or {}).get("serviceAccountName")
    return kube.get("ServiceAccount", finetune["metadata"]["namespace"], name) if name else None


def _is_late(job: Object, pods: tuple[Object, ...], now: datetime, settings: Settings) -> bool:
    """Whether a pod is awaited, or does not start, for longer than a start takes; also after an attempt."""
    awaited, last = unfinished_pod(pods), newest_finished(pods)
    if awaited is not None and is_running(awaited):
        return False
    since = created_at(awaited or job) if awaited or last is None else end_time(last)
    return since is not None and now - since >= timedelta(seconds=settings.pod_start_grace_seconds)


def _events(kube: Kube, job: Object, pods: tuple[Object, ...]) -> tuple[Object, ...]:
    """About the Job and its pods: refusals and missing things are told nowhere else."""
    namespace = job["metadata"]["namespace"]
    about = [
        kube.list("Event", namespace, fields=f"involvedObject.uid={uid_of(thing)}") for thing in (job, *pods)
    ]
    return tuple(event for events in about for event in events)
