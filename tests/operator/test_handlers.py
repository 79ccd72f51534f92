"""What an event puts on the queue."""

from typing import Any

import pytest

from finetune_operator import handlers
from finetune_operator.handlers import Shared
from finetune_operator.memory import Key, Memory

KEY = Key("team", "one")
# Called as kopf calls it, without the arguments that it does not look at.
finetune_changed: Any = handlers.finetune_changed


class FakeQueue:
    """Keeps what was added."""

    def __init__(self) -> None:
        self.added: list[Key] = []

    def add(self, key: Key) -> None:
        self.added.append(key)


@pytest.fixture
def shared() -> Shared:
    return Shared(FakeQueue(), Memory())  # type: ignore[arg-type]


def added(shared: Shared) -> list[Key]:
    assert isinstance(shared.queue, FakeQueue)
    return shared.queue.added


def an_event(type_: str | None = "MODIFIED", version: str = "1", **status: Any) -> Any:
    metadata = {"namespace": "team", "name": "one", "uid": "u1", "generation": 1, "resourceVersion": version}
    return {"type": type_, "object": {"metadata": metadata, "spec": {}, "status": status}}


SETTLED: dict[str, Any] = {
    "observedGeneration": 1,
    "conditions": [
        {
            "type": "Ready", "status": "True", "reason": "Published", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1,
        }
    ],
}  # fmt: skip


async def test_a_finetune_that_needs_work_is_queued(shared: Shared) -> None:
    await finetune_changed(event=an_event(type_=None), memo=shared)
    assert added(shared) == [KEY]


async def test_a_settled_finetune_is_only_remembered(shared: Shared) -> None:
    await finetune_changed(event=an_event(**SETTLED), memo=shared)
    assert added(shared) == []
    assert [known.key for known in shared.memory.known()] == [KEY]


async def test_the_echo_of_an_own_write_is_not_queued(shared: Shared) -> None:
    shared.memory.wrote(an_event(version="7")["object"])
    await finetune_changed(event=an_event(version="7"), memo=shared)
    assert added(shared) == []
    await finetune_changed(event=an_event(version="8"), memo=shared)
    assert added(shared) == [KEY]


async def test_a_deleted_finetune_is_forgotten_at_once_and_once_more_after_a_run(shared: Shared) -> None:
    shared.memory.observe(an_event()["object"])
    await finetune_changed(event=an_event("DELETED"), memo=shared)
    assert shared.memory.known() == []
    assert added(shared) == [KEY]


@pytest.mark.parametrize("handler", [handlers.job_changed, handlers.pod_changed])
async def test_a_child_queues_the_finetune_that_its_label_names(shared: Shared, handler: Any) -> None:
    metadata = {"namespace": "team", "name": "one-1-abc", "labels": {"embeddings.dev/finetune": "one"}}
    await handler(event={"type": "ADDED", "object": {"metadata": metadata}}, memo=shared)
    assert added(shared) == [KEY]
