"""Kopf as the informer: it lists and watches, calls the handlers, and writes nothing."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import kopf
from typing_extensions import override

from finetune_api import names
from finetune_operator import handlers
from finetune_operator.settings import Settings

# So many parsed objects of each kind are held at once after a start.
CHUNK_SIZE = 100
WATCH_REQUEST_SECONDS = 30.0
# Kopf keeps a task for each object so long after its last event: after a restart, for all of them at once.
IDLE_TASK_SECONDS = 0.5


async def watch(
    settings: Settings, shared: handlers.Shared, stop: asyncio.Event, on_start: Callable[[], None]
) -> None:
    """Until asked to stop; `on_start` is called when kopf has set up whatever it sets up."""
    tasks = await kopf.spawn_tasks(
        registry=handlers.registry,
        settings=_settings(),
        memo=shared,
        clusterwide=not settings.watch_namespaces,
        namespaces=settings.watch_namespaces,
        stop_flag=stop,
    )
    on_start()
    await kopf.run_tasks(tasks, ignored=_Everything())


class _Everything(frozenset[Any]):
    """Kopf takes whatever has begun since its start for its own, waits 5 s for it, and then cancels it.

    These are connections that pods keep open and reports that are being taken. Kopf's own tasks end with
    those that it has spawned.
    """

    @override
    def __contains__(self, _: object) -> bool:
        return True


def _settings() -> kopf.OperatorSettings:
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.persistence.diffbase_storage = _NoDiffs()
    settings.networking.request_timeout = WATCH_REQUEST_SECONDS
    settings.queueing.idle_timeout = IDLE_TASK_SECONDS
    settings.watching.chunk_size = CHUNK_SIZE
    settings.watching.label_selectors["batch", "v1", "jobs"] = names.LABEL_FINETUNE
    settings.watching.label_selectors["", "v1", "pods"] = names.LABEL_FINETUNE
    return settings


class _NoDiffs(kopf.DiffBaseStorage):
    """Kopf copies each object deeply at every event, to compare it; no handler of ours asks what changed."""

    @override
    def build(
        self, *, body: kopf.Body, extra_fields: Iterable[kopf.FieldSpec] | None = None
    ) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    @override
    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        return None

    @override
    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Nothing."""
