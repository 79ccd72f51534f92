"""What the operator knows of finetunes and of what their pods reported, and what it forgets."""

from datetime import UTC, datetime
from typing import Any

import pytest

from finetune_api.report import Report
from finetune_operator.decisions.observed import LiveProgress, PostedReport
from finetune_operator.memory import Key, Memory

KEY = Key("team", "one")


def a_finetune(uid: str = "u1", resource_version: str = "1") -> dict[str, Any]:
    metadata = {"namespace": "team", "name": "one", "uid": uid, "resourceVersion": resource_version}
    return {"metadata": metadata, "status": {"run": {"number": 1}}}


@pytest.fixture
def memory() -> Memory:
    memory = Memory()
    memory.observe(a_finetune())
    return memory


THEN = datetime(2026, 1, 1, tzinfo=UTC)
LIVE = LiveProgress("Training", None, THEN, "pod", THEN)
REPORT = PostedReport(Report(uid="u1", run=1, outcome="Succeeded"), "pod")


def test_progress_and_report_of_one_run_are_kept_side_by_side(memory: Memory) -> None:
    memory.report(KEY, "u1", 1, LIVE)
    memory.report(KEY, "u1", 1, REPORT)
    assert memory.reported("u1", 1) == (LIVE, REPORT)


def test_the_next_run_starts_with_nothing_reported(memory: Memory) -> None:
    memory.report(KEY, "u1", 1, REPORT)
    memory.report(KEY, "u1", 2, LIVE)
    assert memory.reported("u1", 1) == (None, None)
    assert memory.reported("u1", 2) == (LIVE, None)


def test_a_pod_of_an_older_run_is_not_heard(memory: Memory) -> None:
    memory.report(KEY, "u1", 2, LIVE)
    assert not memory.report(KEY, "u1", 1, REPORT)
    assert memory.reported("u1", 2) == (LIVE, None)


def test_a_finetune_of_the_same_name_starts_with_nothing_reported(memory: Memory) -> None:
    memory.report(KEY, "u1", 1, REPORT)
    memory.observe(a_finetune(uid="u2"))
    assert memory.reported("u1", 1) == (None, None)
    assert not memory.report(KEY, "u1", 1, REPORT)


def test_nothing_of_a_deleted_finetune_stays(memory: Memory) -> None:
    memory.report(KEY, "u1", 1, REPORT)
    memory.forget(KEY)
    assert not memory.report(KEY, "u1", 1, LIVE)
    assert (memory._known, memory._reported) == ({}, {})


def test_a_finetune_that_did_not_change_stays_the_same_object(memory: Memory) -> None:
    ((before, _),) = memory.known()
    memory.observe(a_finetune())
    ((after, _),) = memory.known()
    assert after is before
    memory.observe(a_finetune(resource_version="2"))
    ((changed, _),) = memory.known()
    assert changed is not before
