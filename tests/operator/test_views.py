"""What is kept of finetunes that go on, and what is let go."""

from typing import Any

import pytest

from finetune_operator.views import REREAD_SECONDS, Key, Views

KEY = Key("team", "one")
KIND = "EmbeddingFinetune"


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def views(clock: Clock) -> Views:
    views = Views(clock)
    views.saw(KIND, KEY, thing("one", 1))
    return views


def thing(
    name: str, version: int | str, uid: str = "u1", kind: str = KIND, **metadata: Any
) -> dict[str, Any]:
    metadata |= {"namespace": "team", "name": name, "uid": uid, "resourceVersion": str(version)}
    return {"kind": kind, "metadata": metadata, "spec": {}}


def test_an_older_event_does_not_replace_an_own_write(views: Views) -> None:
    views.wrote(KEY, thing("one", 10))
    assert views.knows(KIND, KEY, thing("one", 10))
    assert not views.knows(KIND, KEY, thing("one", 11))
    assert not views.saw(KIND, KEY, thing("one", 9))
    assert not views.saw(KIND, KEY, thing("one", 10))
    view = views.take(KEY)
    assert view is not None
    assert view.finetune["metadata"]["resourceVersion"] == "10"


def test_versions_that_are_no_numbers_are_believed_as_they_come(views: Views) -> None:
    assert views.saw(KIND, KEY, thing("one", "b"))
    assert views.saw(KIND, KEY, thing("one", "a"))
    assert not views.saw(KIND, KEY, thing("one", "a"))


def test_an_old_view_is_read_anew_although_something_was_heard(views: Views, clock: Clock) -> None:
    views.take(KEY)
    views.read(KEY, thing("one", 1), "one-1", [])
    for seconds, is_used in ((REREAD_SECONDS - 1, True), (REREAD_SECONDS, False)):
        clock.now = seconds
        views.heard(KEY)
        assert (views.take(KEY) is not None) == is_used


def test_what_was_heard_during_a_read_makes_the_next_look_read(views: Views) -> None:
    views.take(KEY)
    views.saw("Job", KEY, thing("one-1", 5, kind="Job"))  # a watch was faster than the answer to the read
    views.read(KEY, thing("one", 1), "one-1", [])
    assert views.take(KEY) is None
    views.read(KEY, thing("one", 1), "one-1", [thing("one-1", 5, kind="Job")])
    views.heard(KEY)
    view = views.take(KEY)
    assert view is not None
    assert view.child("Job", "one-1") is not None


def test_a_deletion_of_a_former_child_does_not_take_the_present_one(views: Views) -> None:
    views.saw("Job", KEY, thing("one-1", 5, "j2", "Job"))
    assert not views.lost("Job", KEY, thing("one-1", 6, "j1", "Job"))
    assert views.lost("Job", KEY, thing("one-1", 7, "j2", "Job"))


def test_nothing_is_kept_of_what_is_gone(views: Views) -> None:
    job = thing("one-1", 5, kind="Job")
    views.saw("Job", KEY, job)
    views.wrote(KEY, thing("one-1", 6, kind="ConfigMap"))
    views.forget(KEY, "u1")
    views.lost("Job", KEY, job)
    assert (views._entries, views._settled) == ({}, {})


def test_pods_of_a_deleted_finetune_are_known_to_the_next_of_its_name(views: Views) -> None:
    labels = {"batch.kubernetes.io/job-name": "one-1"}
    views.saw("Pod", KEY, thing("one-1-abcde", 5, "p1", "Pod", labels=labels))
    views.forget(KEY, "u1")
    views.saw(KIND, KEY, thing("one", 6, "u2"))
    view = views.take(KEY)
    assert view is not None
    assert [pod["metadata"]["uid"] for pod in view.pods_of("one-1")] == ["p1"]


def test_a_settled_finetune_keeps_no_children_and_hears_of_its_next_change(views: Views) -> None:
    views.saw("Job", KEY, thing("one-1", 5, kind="Job"))
    views.settle(KEY, thing("one", 6))
    assert views.knows("Job", KEY, thing("one-1", 7, kind="Job"))
    assert not views.saw("Job", KEY, thing("one-1", 7, kind="Job"))
    assert not views.saw(KIND, KEY, thing("one", 6))
    assert views._entries == {}
    assert views.saw(KIND, KEY, thing("one", 8))
    assert views._settled == {}


def test_the_end_of_a_former_finetune_leaves_the_present_one_of_that_name(views: Views) -> None:
    views.saw(KIND, KEY, thing("one", 9, "u2"))
    views.forget(KEY, "u1")
    assert views.take(KEY) is not None


def test_a_pod_is_found_by_its_name_if_it_is_that_very_one(views: Views) -> None:
    views.saw("Pod", KEY, thing("one-1-abcde", 5, "p1", "Pod"))
    assert views.find("Pod", "team", "one-1-abcde", "p1") is not None
    assert views.find("Pod", "team", "one-1-abcde", "p2") is None
    assert views.find("Pod", "team", "two-1-abcde", "p1") is None
    assert views.find("Job", "team", "one-1", "j1") is None
