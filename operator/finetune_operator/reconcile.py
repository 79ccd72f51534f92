"""Observe, plan, act: one look at one finetune, and the only order of reads and writes.

`plan` decides; what the cluster refuses while acting goes back to it once, so that status says so. Runs in a
thread, one at a time for each key: the queue sees to that.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from finetune_api import names
from finetune_operator.decisions.announcements import announcements, build_event
from finetune_operator.decisions.objects import (
    created_at,
    is_being_deleted,
    is_controlled_by,
    name_of,
    uid_of,
)
from finetune_operator.decisions.observed import Object, Observed
from finetune_operator.decisions.plan import Plan, plan
from finetune_operator.decisions.pods import end_time, is_running, newest_finished, unfinished_pod
from finetune_operator.decisions.runs import awaits_previous_job, children_name, is_settled, run_number
from finetune_operator.errors import Stalled, Waiting
from finetune_operator.kube import ApiFailure, Conflict, Kube
from finetune_operator.memory import Key, Memory
from finetune_operator.settings import Settings

logger = logging.getLogger(__name__)

# Somebody else wrote in between: what they wrote is there to be read at once.
CONFLICT_RETRY_SECONDS = 0.1
TERMINATING_RETRY_SECONDS = 2.0


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


def reconcile(key: Key, around: Surroundings) -> float | None:
    """Bring one finetune a step on. After how many seconds to look again, if events do not say so earlier.

    Errors of the API server rise.
    """
    finetune = around.kube.get(names.KIND, *key)
    if finetune is None:
        around.memory.forget(key)
        return None
    around.memory.observe(finetune)
    if is_settled(finetune):
        return None
    observed = observe(finetune, around)
    decision = plan(observed, around.settings)
    if not around.may_act():
        return None
    try:
        decision = act(observed, decision, around)
    except Conflict as conflict:
        logger.debug("overtaken", extra={"key": str(key), "error": str(conflict)})
        return CONFLICT_RETRY_SECONDS
    return decision.requeue_after_seconds


def observe(finetune: Object, around: Surroundings) -> Observed:
    """Everything `plan` may ask about, by deterministic names."""
    kube, (namespace, name) = around.kube, (finetune["metadata"]["namespace"], children_name(finetune))
    job = kube.get("Job", namespace, name)
    pods = kube.list("Pod", namespace, labels=f"batch.kubernetes.io/job-name={name}") if job else ()
    previous = None
    if awaits_previous_job(finetune):
        previous = kube.get("Job", namespace, children_name(finetune, run_number(finetune) - 1))
    live, report = around.memory.reported(uid_of(finetune), run_number(finetune))
    now = around.now()
    return Observed(
        finetune=finetune,
        job=job,
        config=kube.get("ConfigMap", namespace, name),
        previous_job=previous,
        pods=pods,
        events=_events(kube, job, pods) if job and _is_late(job, pods, now, around.settings) else (),
        report=report,
        live=live,
        ca_certificate=around.ca_certificate,
        now=now,
        listening_since=around.listening_since,
    )


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


def act(observed: Observed, decision: Plan, around: Surroundings) -> Plan:
    """Delete, create, and say so in status. Returns the plan that was followed in the end.

    Raises Conflict when the finetune is no longer what was observed.
    """
    try:
        for deletion in decision.delete:
            around.kube.delete(deletion.kind, deletion.namespace, deletion.name, uid=deletion.uid)
        for manifest in decision.create:
            create_or_adopt(around.kube, manifest, uid_of(observed.finetune))
    except (Stalled, Waiting) as refusal:
        decision = plan(replace(observed, refusal=refusal), around.settings)
    _put_status(observed.finetune, decision, around)
    return decision


def create_or_adopt(kube: Kube, manifest: Object, uid: str) -> None:
    """Create the object, or find that an earlier, interrupted look has done so.

    Raises Waiting while an object of that name goes away, Stalled when it belongs to somebody else.
    """
    kind, namespace, name = manifest["kind"], manifest["metadata"]["namespace"], name_of(manifest)
    try:
        kube.create(manifest)
    except Conflict:
        there = kube.get(kind, namespace, name)
        if there is None:
            raise  # it went between the two calls: the next look creates it
        if is_being_deleted(there):
            text = f"{kind} {name} of before is still being deleted"
            raise Waiting("PreviousJobTerminating", text, TERMINATING_RETRY_SECONDS) from None
        if not is_controlled_by(there, uid):
            text = f"{kind} {name} exists and is not of this finetune: remove it, or rename the finetune"
            raise Stalled("NameTaken", text) from None


def _put_status(finetune: Object, decision: Plan, around: Surroundings) -> None:
    before = finetune.get("status") or {}
    extra = {
        "key": "/".join((finetune["metadata"]["namespace"], name_of(finetune))),
        "generation": finetune["metadata"]["generation"],
        "reason": _reason(decision.status),
        "phase": decision.status.get("phase"),
        "creates": [f"{thing['kind']}/{name_of(thing)}" for thing in decision.create],
        "deletes": [f"{deletion.kind}/{deletion.name}" for deletion in decision.delete],
    }
    if decision.status == before:
        logger.debug("unchanged", extra=extra)
        return
    around.memory.wrote(around.kube.put_status({**finetune, "status": decision.status}))
    logger.info("status", extra=extra)
    for announcement in announcements(before, decision.status):
        _announce(build_event(finetune, announcement, around.now()), around.kube)


def _announce(event: Object, kube: Kube) -> None:
    """An Event that cannot be posted is not worth a retry: status says the same."""
    try:
        kube.create(event)
    except (ApiFailure, Conflict, Stalled, Waiting) as error:
        logger.warning("could not post an event", extra={"reason": event["reason"], "error": str(error)})


def _reason(status: dict[str, Any]) -> str:
    """Of the Ready condition, which every state has."""
    return next((c["reason"] for c in status.get("conditions", []) if c["type"] == "Ready"), "")
