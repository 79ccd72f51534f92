"""The only kopf handlers: an event puts a key on the queue. They neither decide nor write anything."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import kopf

from finetune_api import names
from finetune_operator.decisions.objects import uid_of
from finetune_operator.decisions.runs import is_settled, next_look
from finetune_operator.memory import Key, Memory, key_of
from finetune_operator.trimming import trimmed
from finetune_operator.workqueue import WorkQueue

registry = kopf.OperatorRegistry()

GATHER_SECONDS = 0.2
"""What a Job and its pod tell comes in twos and threes, and calls for one look."""


@dataclass(frozen=True)
class Shared:
    """What handlers get as kopf's memo."""

    queue: WorkQueue[Key]
    memory: Memory
    pod_gone: Callable[[str], None]
    """Takes the uid of a deleted pod."""
    seen: Callable[[str], None] = lambda _: None
    """Told the kind of each object that a watch brings."""
    now: Callable[[], datetime] = lambda: datetime.now(UTC)


@kopf.on.login(registry=registry)
def log_in(**kwargs: Any) -> kopf.ConnectionInfo | None:
    """With the same credentials as `kube.connect`."""
    return kopf.login_with_kubeconfig(**kwargs) or kopf.login_with_service_account(**kwargs)


@kopf.on.event(names.GROUP, names.VERSION, names.PLURAL, registry=registry)
async def finetune_changed(event: kopf.RawEvent, memo: Shared, **_: Any) -> None:
    """Queue a finetune unless nothing is left to do, or the event is the echo of the operator's own write."""
    memo.seen(names.KIND)
    key, views = key_of(dict(event["object"])), memo.memory.views
    if event["type"] != "DELETED" and views.knows(names.KIND, key, event["object"]):
        if event["type"] is None:
            _have_it_read(key, memo)
        return
    finetune = trimmed(event["object"])
    if event["type"] == "DELETED":
        memo.memory.forget(key)
        views.forget(key, uid_of(finetune))
        memo.queue.add(key)  # a run in progress may remember it just now; the next one forgets
    elif views.saw(names.KIND, key, finetune):
        memo.memory.observe(finetune)
        if is_settled(finetune):
            views.settle(key, finetune)
            if (wait := next_look(finetune, memo.now())) is not None:
                memo.queue.add_after(key, wait)
        elif event["type"] is None:
            _have_it_read(key, memo)
        else:
            memo.queue.add(key)


def _have_it_read(key: Key, memo: Shared) -> None:
    """It was listed: at the start, or after a watch that broke, as those of its children may have.

    A list may be old: what others made or ended since is not in it.
    """
    if memo.memory.views.doubt(key):
        # Thousands that go on are no reason to let a new one wait.
        memo.queue.add_after(key, 0)


@kopf.on.event("batch", "v1", "jobs", registry=registry)
async def job_changed(event: kopf.RawEvent, memo: Shared, **_: Any) -> None:
    """Queue the finetune of a Job that says something new."""
    memo.memory.views.told_of_a_job()
    _child_changed("Job", event, memo)


@kopf.on.event("", "v1", "pods", registry=registry)
async def pod_changed(event: kopf.RawEvent, memo: Shared, **_: Any) -> None:
    """Queue the finetune of a pod that says something new. The token of a deleted one is believed no more."""
    if event["type"] == "DELETED":
        memo.pod_gone(event["object"]["metadata"]["uid"])
    _child_changed("Pod", event, memo)


def _child_changed(kind: str, event: kopf.RawEvent, memo: Shared) -> None:
    memo.seen(kind)
    metadata, views = event["object"]["metadata"], memo.memory.views
    key = Key(metadata["namespace"], metadata["labels"][names.LABEL_FINETUNE])
    if event["type"] != "DELETED" and views.knows(kind, key, event["object"]):
        return
    tell = views.lost if event["type"] == "DELETED" else views.saw
    if tell(kind, key, trimmed(event["object"])):
        memo.queue.add_after(key, GATHER_SECONDS)
