"""What the pods of a run cost: counted once, never forgotten, whatever becomes of them."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune_api.status import FinetuneStatus, Progress, Run
from finetune_operator.decisions.accounting import account
from finetune_operator.decisions.observed import LiveProgress, Observed
from tests.plan import world
from tests.plan.test_properties import looks

JOB = world.a_job(status={"active": 1})
SUMS = (
    "attempt", "retries", "interruptions", "active_seconds", "wasted_seconds", "lost_steps",
)  # fmt: skip


def _look(finetune: world.Object, *pods: world.Object, **parts: Any) -> Observed:
    usual = {"job": JOB, "config": world.a_config(), "pods": pods}
    return world.a_look(finetune, **{**usual, **parts})


def _seen(finetune: world.Object, *pods: world.Object, **parts: Any) -> world.Object:
    """The finetune after a look at these pods."""
    return {**finetune, "status": world.decide(_look(finetune, *pods, **parts)).status}


def _numbers(finetune: world.Object) -> dict[str, Any]:
    """Of its run, without what every run has."""
    usual = {"number", "specHash", "job", "startTime", "pod", "podTime"}
    return {key: value for key, value in finetune["status"]["run"].items() if key not in usual}


def _running(number: int = 1, started: float = 10) -> world.Object:
    """Pod number so and so, made ten seconds before its trainer began."""
    return world.a_running_pod(f"vdr-1-pod{number}", started=started, created=started - 10)


def _ended(number: int, started: float, ended: float, code: int, **more: Any) -> world.Object:
    pod = world.a_finished_pod(code, name=f"vdr-1-pod{number}", ended=ended, created=started - 10, **more)
    pod["status"]["containerStatuses"][1]["state"]["terminated"]["startedAt"] = world.time(started)
    return pod


def _live(number: int, seconds: float, step: int | None, **parts: Any) -> LiveProgress:
    progress = None if step is None else Progress(percent=step, step=step)
    return world.live("Training", progress, seconds, pod_uid=f"uid-of-vdr-1-pod{number}", **parts)


def test_the_newest_pod_is_named_and_its_seconds_are_counted() -> None:
    finetune = _seen(world.started(), _running(), now=world.at(70))
    assert finetune["status"]["run"]["pod"] == "vdr-1-pod1"
    assert _numbers(finetune) == {"attempt": 1, "activeSeconds": 60, "podSeconds": 60}


def test_that_a_pod_still_runs_is_no_reason_for_a_write() -> None:
    finetune = _seen(world.started(), _running(), now=world.at(70))
    assert _seen(finetune, _running(), now=world.at(370)) == finetune


def test_seconds_are_written_with_the_next_change() -> None:
    finetune = _seen(world.started(), _running(), now=world.at(70))
    later = _seen(finetune, _running(), live=_live(1, 370, 5), now=world.at(370))
    assert _numbers(later) == {"attempt": 1, "activeSeconds": 360, "podSeconds": 360}


def test_a_pod_that_does_not_run_yet_costs_nothing() -> None:
    finetune = _seen(world.started(), world.a_pod("vdr-1-pod1"))
    assert _numbers(finetune) == {"attempt": 1}


@pytest.mark.parametrize(("code", "retries"), [(1, 1), (137, 1), (20, 1), (11, 0)])
def test_a_failure_counts_unless_only_the_user_can_mend_it(code: int, retries: int) -> None:
    numbers = _numbers(_seen(world.started(), _ended(1, 10, 110, code)))
    assert (numbers.get("retries", 0), numbers.get("interruptions", 0)) == (retries, 0)


@pytest.mark.parametrize(
    "pod",
    [
        _ended(1, 10, 110, 143),
        _ended(1, 10, 110, 137, conditions=[{"type": "DisruptionTarget", "status": "True"}]),
    ],
    ids=["asked to stop", "taken off its node"],
)
def test_an_interruption_counts_no_retry(pod: world.Object) -> None:
    assert _numbers(_seen(world.started(), pod)) == {
        "attempt": 1, "podEnded": True, "interruptions": 1, "vainInterruptions": 1, "activeSeconds": 100,
        "podSeconds": 100, "wastedSeconds": 100,
    }  # fmt: skip


def test_a_pod_that_is_being_deleted_was_interrupted_whatever_its_code() -> None:
    pod = _ended(1, 10, 110, 137)
    pod["metadata"]["deletionTimestamp"] = world.time(100)
    assert _numbers(_seen(world.started(), pod))["interruptions"] == 1


def test_a_pod_that_vanished_was_interrupted_and_keeps_the_seconds_that_were_known() -> None:
    finetune = _seen(world.started(), _running(), now=world.at(70))
    gone = _seen(finetune, now=world.at(500))
    assert _numbers(gone) == {
        "attempt": 1, "podEnded": True, "interruptions": 1, "vainInterruptions": 1, "activeSeconds": 60,
        "podSeconds": 60, "wastedSeconds": 60,
    }  # fmt: skip
    assert _seen(gone, now=world.at(900)) == gone


def test_an_attempt_follows_another_also_in_another_job() -> None:
    first = _seen(world.started(), _ended(1, 10, 110, 1))
    without_job = {**first, "status": world.decide(world.a_look(first, config=world.a_config())).status}
    second = _seen(without_job, _running(2, 210), now=world.at(240))
    assert second["status"]["run"]["pod"] == "vdr-1-pod2"
    assert _numbers(second) == {
        "attempt": 2, "retries": 1, "activeSeconds": 130, "podSeconds": 30, "wastedSeconds": 100,
    }  # fmt: skip


def test_an_older_pod_that_is_still_there_is_not_counted_again() -> None:
    both = (_ended(1, 10, 110, 1), _running(2, 210))
    finetune = _seen(world.started(), *both, now=world.at(240))
    assert _numbers(finetune)["attempt"] == 2
    only_the_older = _seen(finetune, both[0], now=world.at(250))
    assert (_numbers(only_the_older)["attempt"], _numbers(only_the_older)["retries"]) == (2, 1)


def test_steps_since_the_checkpoint_are_lost_once_the_next_attempt_says_where_it_went_on() -> None:
    told = _live(1, 100, 84, checkpoint_step=50, checkpoint_at=world.at(60))
    finetune = _seen(world.started(), _running(), live=told, now=world.at(100))
    assert (_numbers(finetune)["checkpointStep"], _numbers(finetune)["checkpointTime"]) == (
        50,
        world.time(60),
    )
    first = _ended(1, 10, 110, 137)
    finetune = _seen(finetune, first, live=told)
    assert _numbers(finetune)["wastedSeconds"] == 50
    assert (_numbers(finetune).get("lostSteps"), _numbers(finetune)["lastStep"]) == (None, 84)
    finetune = _seen(finetune, first, _running(2, 210), live=_live(2, 220, None), now=world.at(220))
    assert "lostSteps" not in _numbers(finetune)
    finetune = _seen(finetune, first, _running(2, 210), live=_live(2, 230, 51, resumed_step=50))
    assert (_numbers(finetune)["lostSteps"], _numbers(finetune).get("lastStep")) == (34, None)


def test_a_checkpoint_that_was_damaged_is_no_longer_told_as_the_newest() -> None:
    told = _live(1, 100, 84, checkpoint_step=80, checkpoint_at=world.at(90))
    finetune = _seen(world.started(), _ended(1, 10, 110, 137), live=told)
    pods = (_ended(1, 10, 110, 137), _running(2, 210))
    finetune = _seen(finetune, *pods, live=_live(2, 230, 41, resumed_step=40))
    assert (_numbers(finetune)["checkpointStep"], _numbers(finetune)["lostSteps"]) == (40, 44)


def test_a_trainer_that_does_not_say_where_it_went_on_began_at_the_checkpoint_or_anew() -> None:
    finetune = _seen(world.started(), _ended(1, 10, 110, 137), live=_live(1, 100, 84))
    pods = (_ended(1, 10, 110, 137), _running(2, 210))
    assert _numbers(_seen(finetune, *pods, live=_live(2, 230, 1)))["lostSteps"] == 84


def test_a_checkpoint_made_when_asked_to_stop_wastes_nothing() -> None:
    left = world.a_report("Failed", checkpointStep=84)
    finetune = _seen(world.started(), _ended(1, 10, 110, 143, message=json.dumps(left)))
    numbers = _numbers(finetune)
    assert (numbers["checkpointStep"], numbers["checkpointTime"]) == (84, world.time(110))
    assert "vainInterruptions" not in numbers
    assert "wastedSeconds" not in numbers


def test_a_checkpoint_that_is_reported_again_keeps_its_time() -> None:
    told = _live(1, 100, 84, checkpoint_step=50, checkpoint_at=world.at(60))
    finetune = _seen(world.started(), _running(), live=told)
    again = _live(1, 300, 90, checkpoint_step=50, checkpoint_at=world.at(290))
    assert _numbers(_seen(finetune, _running(), live=again))["checkpointTime"] == world.time(60)


def test_a_new_checkpoint_ends_a_row_of_vain_interruptions() -> None:
    finetune = world.started()
    pods: tuple[world.Object, ...] = ()
    for number in (1, 2):
        pods = (*pods, _ended(number, 100 * number, 100 * number + 50, 143))
        finetune = _seen(finetune, *pods)
    assert _numbers(finetune)["vainInterruptions"] == 2
    told = _live(3, 340, 5, checkpoint_step=5, checkpoint_at=world.at(340))
    finetune = _seen(finetune, *pods, _ended(3, 300, 350, 143), live=told)
    assert (_numbers(finetune).get("vainInterruptions", 0), _numbers(finetune)["interruptions"]) == (0, 3)


def test_a_pod_that_was_evicted_before_it_ran_was_not_in_vain() -> None:
    finetune = _seen(world.started(), world.a_pod("vdr-1-pod1"))
    assert _numbers(_seen(finetune)) == {"attempt": 1, "podEnded": True, "interruptions": 1}


def test_a_job_made_again_has_the_retries_that_are_left() -> None:
    finetune = _seen(world.started(), _ended(1, 10, 110, 1), _ended(2, 210, 310, 1))
    decision = world.decide(world.a_look(finetune, config=world.a_config()))
    (job,) = decision.create
    assert job["spec"]["backoffLimit"] == 1


def test_a_stranger_s_pods_cost_nothing() -> None:
    job = world.a_job(ownerReferences=[])
    status = world.decide(_look(world.started(), _running(), job=job)).status
    assert "attempt" not in status["run"]


def test_the_numbers_of_a_former_version_are_taken_over() -> None:
    finetune = world.started()
    finetune["status"]["run"]["attempt"] = 2
    pods = (_ended(1, 10, 110, 1), _running(2, 210))
    numbers = _numbers(_seen(finetune, *pods, now=world.at(240)))
    assert (numbers["attempt"], numbers["retries"], numbers["activeSeconds"]) == (2, 1, 130)


@settings(max_examples=50, deadline=None)
@given(st.lists(looks(), min_size=1, max_size=3))
def test_no_number_ever_falls_and_looking_twice_changes_nothing(history: list[Observed]) -> None:
    run = FinetuneStatus.model_validate(world.started()["status"]).run
    assert run is not None
    for look in history:
        observed = replace(look, finetune=world.started())
        after = account(run, observed, None)
        Run.model_validate(after.model_dump())
        for name in SUMS:
            assert getattr(after, name) >= getattr(run, name), name
        assert account(after, observed, None) == after
        assert after.pod_seconds <= after.active_seconds
        assert after.retries + after.interruptions <= after.attempt
        run = after
