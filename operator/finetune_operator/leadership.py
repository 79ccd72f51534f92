"""Being the replica that acts: threads that hold the Lease, and the label that sends reports to this pod."""

import asyncio
import contextlib
import functools
import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

from finetune_api import names
from finetune_operator.kube import ApiFailure, Conflict, Count, Kube, connect
from finetune_operator.lease import Lease, acquire, renew, watch
from finetune_operator.patience import patiently
from finetune_operator.settings import Settings

logger = logging.getLogger(__name__)

MayAct = Callable[[], bool]

LOST = 3
"""Exit code of a leader that lost the Lease."""


def open_lease(settings: Settings, count: Count) -> Lease:
    """The Lease, over a connection of its own: it must not wait behind other requests."""
    kube = connect(connections=1, count=count, read_seconds=settings.lease_deadline_seconds / 2)
    identity = f"{settings.pod_name or socket.gethostname()}_{uuid.uuid4()}"
    return Lease(kube, settings, identity, monotonic=time.monotonic, now=lambda: datetime.now(UTC))


async def wait_for(lease: Lease, settings: Settings, stop: threading.Event) -> bool:
    """Stand by until the Lease is ours; False when asked to stop before that."""
    return await asyncio.to_thread(acquire, lease, stop, every_seconds=settings.lease_renew_seconds)


@contextlib.asynccontextmanager
async def leading(
    lease: Lease, settings: Settings, kube: Kube, asked_to_stop: threading.Event
) -> AsyncIterator[None]:
    """Hold Lease and label while the context lasts, then hand both back.

    Ends the process if the Lease is lost meanwhile, with LOST unless it was to stop anyway.
    """
    stop = threading.Event()

    def end() -> None:
        end_process(0 if asked_to_stop.is_set() else LOST)

    renewing = threading.Thread(
        target=renew, args=(lease, stop), kwargs={"every_seconds": settings.lease_renew_seconds}, daemon=True
    )
    watching = threading.Thread(
        target=watch, args=(lease, stop, end), kwargs={"monotonic": time.monotonic}, daemon=True
    )
    renewing.start()
    watching.start()
    try:
        await asyncio.to_thread(patiently, functools.partial(_take_reports, lease, settings, kube), stop)
        yield
    finally:
        stop.set()
        await asyncio.to_thread(_hand_back, lease, settings, kube, renewing)


def _take_reports(lease: Lease, settings: Settings, kube: Kube) -> None:
    """Ours is the only pod with the label: one that was killed cannot take its own away."""
    former = pod_of(lease.former_holder)
    if former and former != settings.pod_name:
        kube.label("Pod", settings.namespace, former, {names.LABEL_LEADER: None})
    label_pod(kube, settings, is_leader=True)


def pod_of(identity: str) -> str:
    """Name of the pod in the identity that `open_lease` gives; empty when there is none."""
    return identity.rpartition("_")[0]


def label_pod(kube: Kube, settings: Settings, *, is_leader: bool) -> None:
    """Have the report Service lead to this pod, or no longer."""
    if settings.pod_name:
        kube.label(
            "Pod", settings.namespace, settings.pod_name, {names.LABEL_LEADER: "true" if is_leader else None}
        )


def _hand_back(lease: Lease, settings: Settings, kube: Kube, renewing: threading.Thread) -> None:
    """Without it the next replica has to wait for the Lease to run out: slower, but as good."""
    renewing.join(settings.lease_deadline_seconds)
    for give_back in (functools.partial(label_pod, kube, settings, is_leader=False), lease.release):
        try:
            give_back()
        except (ApiFailure, Conflict) as error:
            logger.warning("could not hand the lease back", extra={"error": str(error)})


def end_process_in(seconds: float) -> None:
    """End, asked to stop, whatever still hangs by then: the next start looks at everything anew."""

    def end() -> None:
        logger.warning("ending though something still waits for an answer")
        logging.shutdown()
        os._exit(0)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def end_process(code: int) -> None:
    """At once: another replica acts from now on, and nothing of this one may finish what it began."""
    logger.critical("the lease is lost; ending so that two never act")
    logging.shutdown()
    os._exit(code)
