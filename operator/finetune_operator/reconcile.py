"""Observe, plan, act: one look at one finetune, and the only order of reads and writes.

`plan` decides; what the cluster refuses while acting goes back to it once, so that status says so. Runs in a
thread, one at a time for each key: the queue sees to that.
"""

import logging
from dataclasses import replace
from typing import Any

from finetune_api import names
from finetune_operator.decisions.announcements import announcements, build_event
from finetune_operator.decisions.objects import name_of
from finetune_operator.decisions.observed import Object, Observed
from finetune_operator.decisions.plan import Plan, plan
from finetune_operator.decisions.runs import is_settled, next_look
from finetune_operator.errors import Stalled, Waiting
from finetune_operator.kube import ApiFailure, Conflict, Kube
from finetune_operator.memory import Key, key_of
from finetune_operator.observing import Surroundings, observe, read
from finetune_operator.trimming import trimmed

__all__ = ["Surroundings", "reconcile"]

logger = logging.getLogger(__name__)

# Somebody else wrote in between: what they wrote is there to be read at once.
CONFLICT_RETRY_SECONDS = 0.1


def reconcile(key: Key, around: Surroundings) -> float | None:
    """Bring one finetune a step on. After how many seconds to look again, if events do not say so earlier.

    Errors of the API server rise; the next look reads everything then.
    """
    views = around.memory.views
    try:
        return _look(key, around)
    except Conflict as conflict:
        logger.debug("overtaken", extra={"key": str(key), "error": str(conflict)})
        views.doubt(key)
        return CONFLICT_RETRY_SECONDS
    except Exception:
        views.doubt(key)
        raise


def _look(key: Key, around: Surroundings) -> float | None:
    view = around.memory.views.take(key)
    observed = observe(view, around) if view is not None else None
    if observed is not None:
        decision = plan(observed, around.settings)
        if _is_harmless(observed, decision):
            return _follow(observed, decision, around)
    found = around.kube.get(names.KIND, *key)
    if found is None:
        around.memory.forget(key)
        around.memory.views.forget(key)
        return None
    finetune = trimmed(found)
    around.memory.observe(finetune)
    if is_settled(finetune):
        around.memory.views.settle(key, finetune)
        wait = next_look(finetune, around.now())
        if wait is None or wait > 0:
            return wait
    observed = read(finetune, around)
    return _follow(observed, plan(observed, around.settings), around)


def _is_harmless(observed: Observed, decision: Plan) -> bool:
    """Whether it could be done on the word of watches: it takes nothing away and gives nothing up.

    A Job made by mistake beside one that is there is refused by its name; in a run that has begun it would
    be told as a loss.
    """
    before = observed.finetune.get("status") or {}
    begun = bool((before.get("run") or {}).get("startTime"))
    gives_up = _is_stalled(decision.status) and not _is_stalled(before)
    return not decision.delete and not (decision.create and begun) and not gives_up


def _follow(observed: Observed, decision: Plan, around: Surroundings) -> float | None:
    if not around.may_act():
        return None
    decision = act(observed, decision, around)
    finetune = observed.finetune
    if is_settled({**finetune, "status": decision.status}):
        around.memory.views.settle(key_of(finetune), finetune)
    return decision.requeue_after_seconds


def act(observed: Observed, decision: Plan, around: Surroundings) -> Plan:
    """Delete, create, and say so in status. Returns the plan that was followed in the end.

    Raises Conflict when the finetune is no longer what was observed.
    """
    try:
        for deletion in decision.delete:
            around.kube.delete(deletion.kind, deletion.namespace, deletion.name, uid=deletion.uid)
        for manifest in decision.create:
            _create(manifest, around)
    except (Stalled, Waiting) as refusal:
        decision = plan(replace(observed, refusal=refusal), around.settings)
    _put_status(observed, decision, around)
    return decision


def _create(manifest: Object, around: Surroundings) -> None:
    """Raises Conflict when something has that name: reading tells whose it is, and whether it goes."""
    made = trimmed(around.kube.create(manifest))
    around.memory.views.wrote(_finetune_of(manifest), made, is_whole=made["kind"] == "Job")


def _finetune_of(child: Object) -> Key:
    return Key(child["metadata"]["namespace"], child["metadata"]["labels"][names.LABEL_FINETUNE])


def _put_status(observed: Observed, decision: Plan, around: Surroundings) -> None:
    finetune = observed.finetune
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
    # Before the status: who reads it again after a crash in between finds the Events by their names.
    for announcement in announcements(before, decision.status):
        _announce(build_event(finetune, announcement, around.now()), around.kube)
    written = trimmed(around.kube.put_status(_with_status(finetune, decision.status)))
    around.memory.observe(written)
    around.memory.views.wrote(key_of(finetune), written)
    around.written(observed, decision.status)
    logger.info("status", extra=extra)


def _with_status(finetune: Object, status: dict[str, Any]) -> Object:
    """What `/status` takes: the API server keeps everything else as it is, and need not read it."""
    metadata = {part: finetune["metadata"][part] for part in ("namespace", "name", "uid", "resourceVersion")}
    return {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": metadata, "status": status}


def _announce(event: Object, kube: Kube) -> None:
    """An Event that cannot be posted is not worth a retry: status says the same."""
    try:
        kube.create(event)
    except Conflict:
        logger.debug("posted before", extra={"reason": event["reason"]})
    except (ApiFailure, Stalled, Waiting) as error:
        logger.warning("could not post an event", extra={"reason": event["reason"], "error": str(error)})


def _is_stalled(status: dict[str, Any]) -> bool:
    return any(c["type"] == "Stalled" and c["status"] == "True" for c in status.get("conditions") or [])


def _reason(status: dict[str, Any]) -> str:
    """Of the Ready condition, which every state has."""
    return next((c["reason"] for c in status.get("conditions", []) if c["type"] == "Ready"), "")
