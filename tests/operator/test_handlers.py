"""What an event puts on the queue."""

from dataclasses import replace
from typing import Any

import pytest

from finetune_operator import handlers
from finetune_operator.handlers import GATHER_SECONDS, Shared
from finetune_operator.memory import Key, Memory

KEY = Key("team", "one")
# Called as kopf calls it, without the arguments that it does not look at.
finetune_changed: Any = handlers.finetune_changed
job_changed: Any = handlers.job_changed
pod_changed: Any = handlers.pod_changed


class FakeQueue:
    """Keeps what was added."""

    def __init__(self) -> None:
        self.added: list[Key] = []
        self.planned: list[float] = []

    def add(self, key: Key) -> None:
        self.added.append(key)

    def add_after(self, key: Key, seconds: float) -> None:
        if seconds == GATHER_SECONDS:
            self.added.append(key)
        else:
            self.planned.append(seconds)


@pytest.fixture
def shared() -> Shared:
    return Shared(FakeQueue(), Memory(), lambda _uid: None)  # type: ignore[arg-type]


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
    await finetune_changed(event=an_event("ADDED"), memo=shared)
    assert added(shared) == [KEY]


async def test_what_a_list_tells_is_read_before_it_is_believed(shared: Shared) -> None:
    await finetune_changed(event=an_event(type_=None), memo=shared)
    assert shared.memory.views.take(KEY) is None
    shared.memory.views.forget(KEY)
    await finetune_changed(event=an_event(type_="ADDED", version="3"), memo=shared)
    assert shared.memory.views.take(KEY) is not None


async def test_what_goes_on_is_read_after_a_watch_that_broke(shared: Shared) -> None:
    """What was deleted meanwhile, no list tells."""
    assert isinstance(shared.queue, FakeQueue)
    await finetune_changed(event=an_event("ADDED"), memo=shared)
    assert shared.memory.views.take(KEY) is not None
    await finetune_changed(event=an_event(type_=None), memo=shared)
    assert (shared.memory.views.take(KEY), shared.queue.planned) == (None, [0])
    await finetune_changed(event=an_event(version="2", **SETTLED), memo=shared)
    await finetune_changed(event=an_event(type_=None, version="2"), memo=shared)
    assert shared.queue.planned == [0], "nothing is left to do for it"


async def test_what_a_restart_lists_waits_behind_what_is_new(shared: Shared) -> None:
    assert isinstance(shared.queue, FakeQueue)
    await finetune_changed(event=an_event(type_=None), memo=shared)
    assert shared.queue.planned == [0]
    await finetune_changed(event=an_event("ADDED", version="2"), memo=shared)
    assert shared.queue.planned == [0]


async def test_any_job_shows_that_jobs_are_told_of(shared: Shared) -> None:
    for handler, are_told in ((pod_changed, False), (job_changed, True)):
        await finetune_changed(event=an_event("ADDED"), memo=shared)
        await handler(event=a_child(), memo=shared)
        view = shared.memory.views.take(KEY)
        assert view is not None
        assert view.jobs_are_told is are_told


async def test_a_settled_finetune_is_only_remembered(shared: Shared) -> None:
    await finetune_changed(event=an_event(**SETTLED), memo=shared)
    assert added(shared) == []
    assert [known.key for known, _ in shared.memory.known()] == [KEY]


async def test_a_settled_finetune_is_looked_at_when_its_job_is_to_go(shared: Shared) -> None:
    run = {"number": 1, "specHash": "v1:0", "job": "one-1", "completionTime": "2026-01-01T00:00:00Z"}
    await finetune_changed(event=an_event(**SETTLED, run=run), memo=shared)
    assert isinstance(shared.queue, FakeQueue)
    assert (shared.queue.added, shared.queue.planned) == ([], [0.0])
    await finetune_changed(
        event=an_event(version="2", **SETTLED, run={**run, "jobRemoved": True}), memo=shared
    )
    assert (shared.queue.added, shared.queue.planned) == ([], [0.0])


async def test_the_echo_of_an_own_write_is_not_queued(shared: Shared) -> None:
    shared.memory.views.wrote(KEY, {"kind": "EmbeddingFinetune", **an_event(version="7")["object"]})
    await finetune_changed(event=an_event(version="7"), memo=shared)
    assert added(shared) == []
    await finetune_changed(event=an_event(version="8"), memo=shared)
    assert added(shared) == [KEY]


async def test_a_deleted_finetune_is_forgotten_at_once_and_once_more_after_a_run(shared: Shared) -> None:
    shared.memory.observe(an_event()["object"])
    await finetune_changed(event=an_event("DELETED"), memo=shared)
    assert list(shared.memory.known()) == []
    assert added(shared) == [KEY]


@pytest.mark.parametrize("type_", ["MODIFIED", "DELETED"])
async def test_the_token_of_a_deleted_pod_is_no_longer_believed(type_: str) -> None:
    gone: list[str] = []
    shared = Shared(FakeQueue(), Memory(), gone.append)  # type: ignore[arg-type]
    await pod_changed(event=a_child(type_), memo=shared)
    assert gone == (["c1"] if type_ == "DELETED" else [])


async def test_everything_that_a_watch_brings_is_told(shared: Shared) -> None:
    seen: list[str] = []
    telling = replace(shared, seen=seen.append)
    await finetune_changed(event=an_event(), memo=telling)
    await job_changed(event=a_child(), memo=telling)
    await pod_changed(event=a_child(), memo=telling)
    assert seen == ["EmbeddingFinetune", "Job", "Pod"]


@pytest.mark.parametrize("handler", [job_changed, pod_changed])
async def test_a_child_queues_the_finetune_that_its_label_names(shared: Shared, handler: Any) -> None:
    await finetune_changed(event=an_event("ADDED"), memo=shared)
    await handler(event=a_child(), memo=shared)
    assert added(shared) == [KEY, KEY]
    await handler(event=a_child("DELETED", version="3"), memo=shared)
    assert added(shared) == [KEY, KEY, KEY]


async def test_a_child_whose_finetune_was_not_seen_yet_waits_for_it(shared: Shared) -> None:
    await job_changed(event=a_child(), memo=shared)
    assert added(shared) == []


async def test_children_of_a_settled_finetune_cost_nothing(shared: Shared) -> None:
    await finetune_changed(event=an_event(**SETTLED), memo=shared)
    await job_changed(event=a_child(), memo=shared)
    await pod_changed(event=a_child("DELETED"), memo=shared)
    assert added(shared) == []


async def test_what_is_told_again_or_says_nothing_new_is_not_queued(shared: Shared) -> None:
    await finetune_changed(event=an_event("ADDED"), memo=shared)
    await job_changed(event=a_child(status={"active": 1, "ready": 0}), memo=shared)
    await job_changed(event=a_child(status={"active": 1, "ready": 0}), memo=shared)
    await job_changed(event=a_child(version="3", status={"active": 1, "ready": 1}), memo=shared)
    await job_changed(event=a_child(version="2", status={"active": 0}), memo=shared)
    assert added(shared) == [KEY, KEY]


def a_child(type_: str = "ADDED", version: str = "2", **parts: Any) -> Any:
    metadata = {
        "namespace": "team", "name": "one-1-abc", "uid": "c1", "resourceVersion": version,
        "labels": {"embeddings.dev/finetune": "one"},
    }  # fmt: skip
    return {"type": type_, "object": {"metadata": metadata, **parts}}
