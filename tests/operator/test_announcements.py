"""Events: one when something is new, none when it is said again."""

from datetime import UTC, datetime
from typing import Any

import pytest

from finetune_operator.decisions.announcements import Announcement, announcements, build_event


def a_condition(type_: str, status: str, reason: str, message: str = "text") -> dict[str, Any]:
    return {"type": type_, "status": status, "reason": reason, "message": message}


def a_status(*conditions: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"conditions": list(conditions), **more}


RUNNING = a_status(a_condition("Reconciling", "True", "Running"), a_condition("Ready", "Unknown", "Running"))
COMING_UP = a_status(a_condition("Reconciling", "True", "Starting"))
STARTED = {**RUNNING, "run": {"number": 2, "job": "one-2", "startTime": "2026-01-01T00:00:00Z"}}
WAITING = a_status(a_condition("Reconciling", "True", "ClaimMissing", "claim late is missing"))
STALLED = a_status(
    a_condition("Stalled", "True", "GateNotPassed", "0.5 < 0.9"), a_condition("Ready", "False", "X")
)
CHANGED = a_status(a_condition("Reconciling", "True", "SpecChanged"))
READY = a_status(a_condition("Ready", "True", "Published", "at pvc://models/one"))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param({}, RUNNING, [], id="a run that goes well"),
        pytest.param(
            {},
            STARTED,
            [Announcement("Normal", "Started", "Start", "Run 2 started as Job one-2.")],
            id="started",
        ),
        pytest.param(
            {},
            WAITING,
            [Announcement("Warning", "ClaimMissing", "Wait", "claim late is missing")],
            id="waits",
        ),
        pytest.param(READY, CHANGED, [Announcement("Normal", "SpecChanged", "Run", "text")], id="asked for"),
        pytest.param(WAITING, WAITING, [], id="still waits"),
        pytest.param(
            WAITING, RUNNING, [Announcement("Normal", "Running", "Run", "text")], id="no longer waits"
        ),
        pytest.param(CHANGED, RUNNING, [], id="runs, as was asked for"),
        pytest.param(COMING_UP, RUNNING, [], id="runs, as was to be expected"),
        pytest.param(
            COMING_UP,
            {**RUNNING, "run": {"attempt": 2}},
            [Announcement("Normal", "Running", "Run", "text")],
            id="runs again",
        ),
        pytest.param(
            RUNNING, STALLED, [Announcement("Warning", "GateNotPassed", "GiveUp", "0.5 < 0.9")], id="gate"
        ),
        pytest.param(
            RUNNING,
            READY,
            [Announcement("Normal", "Published", "Finish", "at pvc://models/one")],
            id="published",
        ),
        pytest.param(READY, READY, [], id="still published"),
        pytest.param(STARTED, {**STARTED, "phase": "Training"}, [], id="only progress"),
    ],
)
def test_an_event_is_posted_for_what_is_new(
    before: dict[str, Any], after: dict[str, Any], expected: list[Announcement]
) -> None:
    assert announcements(before, after) == expected


def test_a_long_message_is_cut_to_what_an_event_may_hold() -> None:
    (found,) = announcements({}, a_status(a_condition("Stalled", "True", "Failed", "x" * 2000)))
    assert len(found.note) == 1024


REMOVED = {"run": {"number": 1, "job": "one-1", "startTime": "2026-01-01T00:00:00Z", "jobRemoved": True}}
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_the_removal_of_a_job_is_told_once() -> None:
    before = {"run": {**REMOVED["run"], "jobRemoved": False}}
    assert [found.reason for found in announcements(before, REMOVED)] == ["JobRemoved"]
    assert announcements(REMOVED, REMOVED) == []


def an_event(reason: str = "Started", *, written: str | None = None, uid: str = "u1") -> dict[str, Any]:
    fields = [{"subresource": "status", "time": written}] if written else []
    metadata = {"namespace": "team", "name": "one", "uid": uid, "managedFields": fields}
    return build_event({"metadata": metadata}, Announcement("Normal", reason, "Start", "text"), NOW)


def test_an_event_is_about_that_very_finetune() -> None:
    event = an_event()
    assert event["involvedObject"]["uid"] == "u1"
    assert event["metadata"]["name"].startswith("one.")
    assert event["firstTimestamp"] == "2026-01-01T00:00:00Z"


def test_what_became_of_one_status_is_one_event_however_often_it_is_seen() -> None:
    first = an_event(written="2026-01-01T00:00:00Z")
    assert an_event(written="2026-01-01T00:00:00Z")["metadata"] == first["metadata"]
    others = (
        an_event(written="2026-01-01T00:00:01Z"),
        an_event("Evicted", written="2026-01-01T00:00:00Z"),
        an_event(written="2026-01-01T00:00:00Z", uid="u2"),
    )
    assert first["metadata"]["name"] not in {event["metadata"]["name"] for event in others}
