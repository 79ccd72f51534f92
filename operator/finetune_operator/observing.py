"""What a look begins with: all that `plan` may ask about, from what watches told or from the API server."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from finetune_operator.decisions.jobs import counts_no_others, end_of
from finetune_operator.decisions.objects import created_at, is_controlled_by, name_of, uid_of
from finetune_operator.decisions.observed import Object, Observed
from finetune_operator.decisions.pods import (
    end_time,
    ends_its_job,
    is_running,
    newest_finished,
    unfinished_pod,
    works_for,
)
from finetune_operator.decisions.problems import problem_of
from finetune_operator.decisions.runs import awaits_previous_job, children_name, run_number
from finetune_operator.kube import Kube
from finetune_operator.memory import Memory, key_of
from finetune_operator.settings import Settings
from finetune_operator.trimming import trimmed
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
    """All that `plan` may ask about, from the view; None when only the API server can tell.

    A look that nobody's news calls for is one for what may have been missed, unless it is at a pod that
    waits and says itself what for, or that has ended while Jobs are told of one by one: of those there may be
    thousands, for long.
    """
    name, finetune = children_name(view.finetune), view.finetune
    is_first = not (finetune.get("status") or {}).get("run")
    if awaits_previous_job(finetune) or not (is_first or name in view.complete):
        return None
    job = view.child("Job", name)
    pods = (*view.pods_of(name), *_ended_and_gone(job, view.gone_pod))
    found = _Found(job, *_divide(pods, finetune), view.child("ConfigMap", name))
    if job is not None and end_of(job) is not None and unfinished_pod(found.pods) is not None:
        return None  # the watch of pods is behind that of Jobs, and what the pod cost is still to come
    has_its_turn = view.jobs_are_told and any(map(ends_its_job, found.pods))
    if not view.has_news and not has_its_turn and not _tells_why_it_waits(found):
        return None
    return _observed(finetune, found, view.events, around)


def read(finetune: Object, around: Surroundings) -> Observed:
    """The same, from the API server by deterministic names."""
    kube, (namespace, name) = around.kube, (finetune["metadata"]["namespace"], children_name(finetune))
    job = kube.get("Job", namespace, name)
    pods = _read_pods(finetune, job, around)
    previous = None
    if awaits_previous_job(finetune):
        previous = kube.get("Job", namespace, children_name(finetune, run_number(finetune) - 1))
    config = kube.get("ConfigMap", namespace, name)
    found = _Found(job, *_divide(pods, finetune), config, previous)
    events, views = _events(found, around), around.memory.views
    views.read(key_of(finetune), finetune, name, found.children, events)
    gone = _ended_and_gone(job, views.gone_pod(key_of(finetune)))
    return _observed(finetune, found._replace(pods=(*found.pods, *gone)), events, around)


def _read_pods(finetune: Object, job: Object | None, around: Surroundings) -> tuple[Object, ...]:
    """By their names as long as the Job counts no others.

    To find them by their label, the API server looks at every pod of the namespace: of 10,000, in 0.3 s.
    """
    namespace = finetune["metadata"]["namespace"]
    if job is not None:
        known = [p for p in around.memory.views.pods(key_of(finetune)) if is_controlled_by(p, uid_of(job))]
        found = (around.kube.get("Pod", namespace, name_of(pod)) for pod in known)
        there = tuple(pod for pod in found if pod is not None)
        if counts_no_others(job, there):
            return there
    return around.kube.list("Pod", namespace, labels=f"{JOB_NAME_LABEL}={children_name(finetune)}")


class _Found(NamedTuple):
    """Children of the present run, and the Job of the one before."""

    job: Object | None
    pods: tuple[Object, ...]
    pods_of_others: tuple[Object, ...]
    """Of a former finetune of the same name."""
    config: Object | None
    previous: Object | None = None

    @property
    def children(self) -> list[Object]:
        """Those of the present run that are there, as they are kept."""
        present = (self.job, *self.pods, *self.pods_of_others, self.config)
        return [trimmed(thing) for thing in present if thing is not None]


def _ended_and_gone(job: Object | None, pod: Object | None) -> tuple[Object, ...]:
    """What counts as if it were still there, in a run whose Job it was of."""
    return (pod,) if job and pod and is_controlled_by(pod, uid_of(job)) else ()


def _divide(pods: tuple[Object, ...], finetune: Object) -> tuple[tuple[Object, ...], tuple[Object, ...]]:
    ours = tuple(pod for pod in pods if works_for(pod, uid_of(finetune)))
    return ours, tuple(pod for pod in pods if not works_for(pod, uid_of(finetune)))


def _observed(finetune: Object, found: _Found, events: tuple[Object, ...], around: Surroundings) -> Observed:
    live, report = around.memory.reported(uid_of(finetune), run_number(finetune))
    return Observed(
        finetune=finetune,
        job=found.job,
        config=found.config,
        previous_job=found.previous,
        pods=found.pods,
        pods_of_others=found.pods_of_others,
        events=events,
        report=report,
        live=live,
        ca_certificate=around.ca_certificate,
        now=around.now(),
        listening_since=around.listening_since,
        service_account=None if found.job else _service_account(finetune, around.kube),
    )


def _service_account(finetune: Object, kube: Kube) -> Object | None:
    """Never from a watch: whom a pod runs as is decided by what the account says now."""
    name = (finetune["spec"].get("runtime") or {}).get("serviceAccountName")
    return kube.get("ServiceAccount", finetune["metadata"]["namespace"], name) if name else None


def _is_late(job: Object, pods: tuple[Object, ...], now: datetime, settings: Settings) -> bool:
    """Whether a pod is awaited, or does not start, for longer than a start takes; also after an attempt."""
    awaited, last = unfinished_pod(pods), newest_finished(pods)
    if any(map(ends_its_job, pods)) or (awaited is not None and is_running(awaited)):
        return False
    since = created_at(awaited or job) if awaited or last is None else end_time(last)
    return since is not None and now - since >= timedelta(seconds=settings.pod_start_grace_seconds)


def _tells_why_it_waits(found: _Found) -> bool:
    return found.job is not None and problem_of(found.job, unfinished_pod(found.pods), ()) is not None


def _events(found: _Found, around: Surroundings) -> tuple[Object, ...]:
    """About a pod that does not start and does not say why, or a Job that has none: nothing else tells."""
    job = found.job
    is_late = job is not None and _is_late(job, found.pods, around.now(), around.settings)
    if job is None or not is_late or _tells_why_it_waits(found):
        return ()
    about = unfinished_pod(found.pods) or job
    fields = f"involvedObject.uid={uid_of(about)}"
    return around.kube.list("Event", job["metadata"]["namespace"], fields=fields)
