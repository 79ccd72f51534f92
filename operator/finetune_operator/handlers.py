"""The only kopf handlers: an event puts a key on the queue. They neither decide nor write anything."""

from dataclasses import dataclass
from typing import Any

import kopf

from finetune_api import names
from finetune_operator.decisions.runs import is_settled
from finetune_operator.memory import Key, Memory, key_of
from finetune_operator.workqueue import WorkQueue

registry = kopf.OperatorRegistry()


@dataclass(frozen=True)
class Shared:
    """What handlers get as kopf's memo."""

    queue: WorkQueue[Key]
    memory: Memory


@kopf.on.login(registry=registry)
def log_in(**kwargs: Any) -> kopf.ConnectionInfo | None:
    """With the same credentials as `kube.connect`."""
    return kopf.login_with_kubeconfig(**kwargs) or kopf.login_with_service_account(**kwargs)


@kopf.on.event(names.GROUP, names.VERSION, names.PLURAL, registry=registry)
async def finetune_changed(event: kopf.RawEvent, memo: Shared, **_: Any) -> None:
    """Queue a finetune unless nothing is left to do, or the event is the echo of the operator's own write."""
    finetune = dict(event["object"])
    if event["type"] == "DELETED":
        memo.memory.forget(key_of(finetune))
        memo.queue.add(key_of(finetune))  # a run in progress may remember it just now; the next one forgets
    elif not memo.memory.is_own_write(finetune):
        memo.memory.observe(finetune)
        if not is_settled(finetune):
            memo.queue.add(key_of(finetune))


@kopf.on.event("batch", "v1", "jobs", registry=registry)
async def job_changed(event: kopf.RawEvent, memo: Shared, **_: Any) -> None:
    """Queue the finetune of a Job."""
    memo.queue.add(_finetune_of(event))


@kopf.on.event("", "v1", "pods", registry=registry)
async def pod_changed(event: kopf.RawEvent, memo: Shared, **_: Any) -> None:
    """Queue the finetune of a pod."""
    memo.queue.add(_finetune_of(event))


def _finetune_of(event: kopf.RawEvent) -> Key:
    """By the label, which the API server has selected the object by."""
    metadata = event["object"]["metadata"]
    return Key(metadata["namespace"], metadata["labels"][names.LABEL_FINETUNE])
