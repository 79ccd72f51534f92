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
            {}, STARTED, [Announcement("Normal", "Started", "Run 2 started as Job one-2")], id="started"
        ),
        pytest.param(
            {}, WAITING, [Announcement("Warning", "ClaimMissing", "claim late is missing")], id="waits"
        ),
        pytest.param(READY, CHANGED, [Announcement("Normal", "SpecChanged", "text")], id="asked for"),
        pytest.param(WAITING, WAITING, [], id="still waits"),
        pytest.param(RUNNING, STALLED, [Announcement("Warning", "GateNotPassed", "0.5 < 0.9")], id="gate"),
        pytest.param(
            RUNNING, READY, [Announcement("Normal", "Published", "at pvc://models/one")], id="published"
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


def test_an_event_is_about_that_very_finetune() -> None:
    finetune = {"metadata": {"namespace": "team", "name": "one", "uid": "u1"}}
    event = build_event(finetune, Announcement("Normal", "Started", "text"), datetime(2026, 1, 1, tzinfo=UTC))
    assert event["involvedObject"]["uid"] == "u1"
    assert event["metadata"] == {"namespace": "team", "generateName": "one-"}
    assert event["firstTimestamp"] == "2026-01-01T00:00:00Z"
