"""A run that goes on: phase and progress, written seldom; attempts, counted."""

import json
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from finetune_api.status import Phase, Progress
from finetune_operator.decisions.observed import LiveProgress, Observed
from tests.plan import world

JOB = world.a_job(status={"active": 1})


def _live(
    phase: Phase = "Training", percent: int | None = 10, seconds: float = 60, **more: Any
) -> LiveProgress:
    progress = None if percent is None else Progress(percent=percent, **more)
    return world.live(phase, progress, seconds)


def _look(finetune: world.Object | None = None, **parts: Any) -> Observed:
    usual = {"job": JOB, "config": world.a_config(), "pods": (world.a_running_pod(),)}
    return world.a_look(finetune or world.started(), **{**usual, **parts})


def _written(status: world.Object, seconds: float) -> world.Object:
    """A finetune whose status was written so long after the start."""
    fields = [
        {"manager": "kubectl", "time": world.time(9999), "operation": "Apply"},
        {"manager": "operator", "time": world.time(seconds), "subresource": "status"},
        {"manager": "somebody", "subresource": "status"},
    ]
    return world.a_finetune(status=status, managedFields=fields)


def test_a_pod_that_runs_and_has_said_nothing_is_starting() -> None:
    decision = world.decide(_look())
    assert (decision.status["phase"], decision.requeue_after_seconds) == ("Starting", 300.0)
    assert world.said(decision.status, "Ready") == ("Unknown", "Running", "The trainer of run 1 is at work.")


def test_phase_and_progress_are_what_the_trainer_reported() -> None:
    decision = world.decide(_look(live=_live(percent=42, step=84, total_steps=200)))
    assert (decision.status["phase"], decision.status["progress"]) == (
        "Training",
        {"percent": 42, "step": 84, "totalSteps": 200},
    )


def test_what_an_earlier_attempt_reported_is_not_shown() -> None:
    pods = (world.a_finished_pod(1), world.a_running_pod("vdr-1-later", started=100, created=90))
    assert world.decide(_look(pods=pods, live=_live(seconds=120))).status["phase"] == "Starting"
    own = replace(_live(seconds=120), pod_uid="uid-of-vdr-1-later")
    assert world.decide(_look(pods=pods, live=own)).status["phase"] == "Training"


def test_a_container_that_does_not_tell_its_start_is_believed() -> None:
    pod = world.a_running_pod()
    pod["status"]["containerStatuses"][1]["state"] = {"running": {}}
    assert world.decide(_look(pods=(pod,), live=_live())).status["phase"] == "Training"


def test_a_new_operator_keeps_what_the_last_one_knew() -> None:
    status = world.decide(_look(live=_live(percent=42))).status
    decision = world.decide(_look(world.a_finetune(status=status)))
    assert decision.status == status


def test_a_stage_without_progress_keeps_the_last() -> None:
    status = world.decide(_look(live=_live(percent=100))).status
    decision = world.decide(_look(world.a_finetune(status=status), live=_live("Evaluating", None)))
    assert (decision.status["phase"], decision.status["progress"]) == ("Evaluating", {"percent": 100})


def test_a_new_attempt_starts_from_nothing() -> None:
    status = world.decide(_look(live=_live(percent=42))).status
    pods = (world.a_finished_pod(1), world.a_running_pod("vdr-1-later", started=700, created=690))
    decision = world.decide(_look(world.a_finetune(status=status), pods=pods))
    assert (decision.status["phase"], decision.status.get("progress")) == ("Starting", None)
    assert decision.status["run"]["attempt"] == 2


def test_less_than_a_whole_percent_is_not_written() -> None:
    status = world.decide(_look(live=_live(percent=42, step=84))).status
    decision = world.decide(_look(world.a_finetune(status=status), live=_live(percent=42, step=85)))
    assert decision.status == status


@pytest.mark.parametrize(
    ("seconds_ago", "percent", "requeue"),
    [(3.0, 42, 7.0), (9.5, 42, 0.5), (10.0, 43, 300.0), (60.0, 43, 300.0)],
)
def test_progress_is_written_at_most_once_in_ten_seconds(
    seconds_ago: float, percent: int, requeue: float
) -> None:
    status = world.decide(_look(live=_live(percent=42))).status
    finetune = _written(status, 100)
    decision = world.decide(_look(finetune, live=_live(percent=43), now=world.at(100 + seconds_ago)))
    assert (decision.status["progress"]["percent"], decision.requeue_after_seconds) == (percent, requeue)


def test_a_new_phase_waits_its_turn_too() -> None:
    status = world.decide(_look(live=_live(percent=100))).status
    decision = world.decide(_look(_written(status, 100), live=_live("Evaluating"), now=world.at(101)))
    assert (decision.status["phase"], decision.requeue_after_seconds) == ("Training", 9.0)


def test_a_reason_waits_for_nothing() -> None:
    status = world.decide(_look(live=_live())).status
    pods = (world.a_finished_pod(1),)
    decision = world.decide(_look(_written(status, 100), pods=pods, now=world.at(101)))
    assert world.verdicts(decision.status, "Reconciling") == ["True"]
    assert decision.status["phase"] == "Starting"


def test_a_finished_job_waits_for_nothing() -> None:
    status = world.decide(_look(live=_live())).status
    decision = world.decide(_look(_written(status, 100), job=world.failed(JOB), now=world.at(101)))
    assert decision.status["phase"] == "Failed"


def test_the_latest_progress_stays_with_a_run_that_is_over() -> None:
    status = world.decide(_look(live=_live(percent=42))).status
    live = _live("Publishing", 100)
    decision = world.decide(_look(world.a_finetune(status=status), job=world.failed(JOB), live=live))
    assert decision.status["progress"] == {"percent": 100}


@pytest.mark.parametrize("phase", ["Succeeded", "Running"])
@pytest.mark.parametrize("code", [0, 11])
def test_between_the_end_of_the_last_pod_and_that_of_its_job_nothing_changes(code: int, phase: str) -> None:
    status = world.decide(_look(live=_live("Publishing", 100))).status
    pod = world.a_finished_pod(code)
    pod["status"]["phase"] = phase  # the container ends before its pod does
    finetune = world.a_finetune(status=status)
    assert world.decide(_look(finetune, pods=(pod,), now=world.at(1000))).status == status


def test_a_failed_attempt_is_told_while_the_next_one_comes() -> None:
    decision = world.decide(_look(pods=(world.a_finished_pod(1, "Traceback\nValueError: odd"),)))
    assert world.said(decision.status, "Reconciling") == (
        "True",
        "InternalError",
        (
            "Pod vdr-1-abcde ended with exit code 1: an error nobody foresaw."
            " The end of its log: Traceback\nValueError: odd. Retry 1 of 3 comes."
            " The run starts over, as its progress is lost without spec.runtime.checkpoints."
        ),
    )


def test_after_the_last_retry_nothing_is_said_until_the_job_has_ended() -> None:
    status = world.decide(_look(live=_live("Training", 50))).status
    finetune = world.a_finetune(status={**status, "run": {**status["run"], "retries": 3}})
    pod = world.a_finished_pod(1)
    for seconds, again in ((601, 15.0), (690, 100.0), (1000, 300.0)):
        decision = world.decide(_look(finetune, pods=(pod,), now=world.at(seconds)))
        assert (decision.status, decision.requeue_after_seconds) == (finetune["status"], again)


def test_after_a_pod_that_is_gone_already_the_next_attempt_is_told() -> None:
    failed = world.decide(_look(pods=(world.a_finished_pod(1),)))
    finetune = world.a_finetune(status=failed.status)
    decision = world.decide(_look(finetune, pods=(), now=world.at(1000)))
    said = "Another attempt of run 1 comes up. It starts over, as its progress is lost without"
    assert (world.said(decision.status, "Reconciling") or ("", "", ""))[2].startswith(said)


def test_a_failed_attempt_is_told_in_the_words_of_its_report() -> None:
    pod = world.a_finished_pod(20, json.dumps(world.a_report("Failed")))
    assert world.said(world.decide(_look(pods=(pod,))).status, "Reconciling") == (
        "True",
        "ColumnMissing",
        (
            "column 'image' is not in pages. You: Name one that is."
            " Retry 1 of 3 comes."
            " The run starts over, as its progress is lost without spec.runtime.checkpoints."
        ),
    )


def test_attempts_are_counted_and_never_fewer() -> None:
    status = {"active": 1, "failed": 2}
    decision = world.decide(_look(job=world.a_job(status=status)))
    assert decision.status["run"]["attempt"] == 3
    again = world.decide(_look(world.a_finetune(status=decision.status), job=world.a_job()))
    assert again.status["run"]["attempt"] == 3


def test_a_change_that_needs_no_new_run_is_observed_while_it_runs() -> None:
    status = world.decide(_look(live=_live(percent=42))).status
    finetune = world.edited(_written(status, 100), world.changed(world.SPEC, "limits.retries", 5))
    decision = world.decide(_look(finetune, live=_live(percent=42), now=world.at(101)))
    assert (decision.delete, decision.status["run"]["number"]) == ((), 1)
    assert {c["observedGeneration"] for c in decision.status["conditions"]} == {2}


def test_times_are_whole_seconds_in_utc() -> None:
    status = world.decide(world.a_look(now=datetime.fromisoformat("2026-03-01T14:00:00.9+02:00"))).status
    assert {c["lastTransitionTime"] for c in status["conditions"]} == {"2026-03-01T12:00:00Z"}
