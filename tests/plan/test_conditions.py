"""Conditions: one list in, a new list out."""

from finetune_api.status import Condition
from finetune_operator.decisions.conditions import (
    MAX_MESSAGE,
    Stamp,
    Verdict,
    find,
    progressing,
    ready,
    set_condition,
    stalled,
)
from tests.plan.world import at, time

FIRST, LATER = Stamp(1, at(0)), Stamp(2, at(60))


def _ready(status: str, reason: str = "Because", message: str = "") -> Verdict:
    return Verdict("Ready", status, reason, message)  # type: ignore[arg-type]  # the parameter is one of three


def test_a_new_condition_has_its_time_and_generation() -> None:
    (condition,) = set_condition([], _ready("Unknown"), FIRST)
    assert (condition.last_transition_time, condition.observed_generation) == (time(0), 1)


def test_the_time_moves_only_when_the_status_flips() -> None:
    before = set_condition([], _ready("Unknown"), FIRST)
    (same,) = set_condition(before, _ready("Unknown", "Other", "words"), LATER)
    assert (same.last_transition_time, same.reason, same.observed_generation) == (time(0), "Other", 2)
    (flipped,) = set_condition(before, _ready("True"), LATER)
    assert flipped.last_transition_time == time(60)


def test_the_list_that_was_there_is_left_as_it_was() -> None:
    before = set_condition([], _ready("Unknown"), FIRST)
    set_condition(before, _ready("True"), LATER)
    assert [c.status for c in before] == ["Unknown"]


def test_a_condition_of_somebody_else_stays_at_the_end() -> None:
    theirs = Condition(
        type="Approved", status="True", reason="Yes", last_transition_time=time(0), observed_generation=1
    )
    assert [c.type for c in progressing([theirs], "Starting", "", FIRST)] == [
        "Reconciling",
        "Ready",
        "Approved",
    ]


def test_reconciling_and_stalled_are_never_both_there() -> None:
    found = progressing([], "Starting", "", FIRST)
    for change in (stalled, progressing, stalled, ready, stalled):
        found = change(found, "Because", "", LATER)
        assert find(found, "Reconciling") is None or find(found, "Stalled") is None


def test_a_condition_that_was_away_begins_anew() -> None:
    found = progressing([], "Starting", "", FIRST)
    found = progressing(stalled(found, "Because", "", LATER), "Starting", "", LATER)
    reconciling = find(found, "Reconciling")
    assert reconciling is not None
    assert reconciling.last_transition_time == time(60)


def test_a_message_has_no_credentials_and_an_end() -> None:
    (condition,) = set_condition(
        [], _ready("True", "Ok", f"s3://key:secret@bucket/x?sig=1 {'x' * 5000}"), FIRST
    )
    assert condition.message.startswith("s3://bucket/x xxx")
    assert (len(condition.message), condition.message[-3:]) == (MAX_MESSAGE, "...")
