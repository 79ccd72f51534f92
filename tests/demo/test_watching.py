from collections.abc import Iterator
from typing import Any

import pytest
from typing_extensions import override

from demo.watching import Finetune, follow_finetunes
from tests.cluster.client import ApiError, Client, Unreachable
from tests.demo.builders import a_finetune, a_ready_one, condition, resource


def test_a_finetune_that_the_operator_has_not_seen_is_not_settled() -> None:
    assert not a_finetune().is_settled


@pytest.mark.parametrize("kind", ["Ready", "Stalled"])
def test_ready_and_stalled_finetunes_are_settled(kind: str) -> None:
    assert a_finetune(conditions=[condition(kind)]).is_settled


def test_a_condition_about_an_older_generation_settles_nothing() -> None:
    assert not a_finetune(generation=2, conditions=[condition("Ready")]).is_settled


def test_a_stalled_finetune_is_not_ready() -> None:
    finetune = a_finetune(conditions=[condition("Ready", "False"), condition("Stalled")])
    assert finetune.is_settled
    assert not finetune.is_ready


def test_a_published_finetune_is_ready() -> None:
    assert a_ready_one().is_ready


class FakeClient(Client):
    """Gives what it was told to, one watch after the other; then it forbids more."""

    def __init__(self, *watches: list[dict[str, Any]] | Exception) -> None:
        self.watches = list(watches)
        self.lists = 0

    @override
    def list(self, path: str, **query: str) -> dict[str, Any]:
        self.lists += 1
        return {"items": [resource(f"listed-{self.lists}")], "metadata": {"resourceVersion": "7"}}

    @override
    def watch(self, path: str, **query: str) -> Iterator[dict[str, Any]]:
        assert query["resourceVersion"] == "7"
        if not self.watches:
            raise ApiError(403, "Forbidden", "the test is over")
        happens = self.watches.pop(0)
        if isinstance(happens, Exception):
            raise happens
        yield from happens


@pytest.mark.parametrize(
    "broken", [ApiError(410, "Expired", "too old"), Unreachable("gone")], ids=["410", "gone"]
)
def test_a_watch_that_breaks_begins_again_with_a_list(broken: Exception) -> None:
    changed = [
        {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "8"}}},
        {"type": "MODIFIED", "object": resource("changed", phase="Training")},
        {"type": "DELETED", "object": resource("deleted")},
    ]
    events = follow_finetunes(FakeClient(changed, broken), "demo")
    heard = [events.get(timeout=10) for _ in range(4)]
    assert [event.name for event in heard if isinstance(event, Finetune)] == [
        "listed-1",
        "changed",
        "listed-2",
        "listed-3",
    ]


def test_an_answer_that_stays_the_same_is_handed_on() -> None:
    events = follow_finetunes(FakeClient(), "demo")
    assert isinstance(events.get(timeout=10), Finetune)
    assert isinstance(events.get(timeout=10), ApiError)
