"""Runs that are given up, and the one more attempt for a Report that was lost."""

import json
from dataclasses import replace
from typing import Any

import pytest

from finetune_api.report import Report
from finetune_operator.decisions.observed import Observed, PostedReport
from tests.plan import world

LIMITED = world.changed(world.SPEC, "limits.activeSeconds", 3600)
KEPT = world.changed(world.SPEC, "runtime", {"checkpoints": {"claim": "scratch"}})


def _look(seconds: float, *pods: world.Object, spec: world.Object = LIMITED, **run: int) -> Observed:
    finetune = world.started(spec)
    finetune["status"]["run"].update(run)
    job = world.a_job(spec=spec, status={"active": 1})
    return world.a_look(finetune, job=job, config=world.a_config(spec), pods=pods, now=world.at(seconds))


def test_a_run_whose_pods_have_run_too_long_is_ended() -> None:
    decision = world.decide(_look(3610, world.a_running_pod()))
    assert [d.name for d in decision.delete] == ["vdr-1"]
    assert decision.status["failure"] == {
        "reason": "DeadlineExceeded",
        "message": (
            "The pods of run 1 have run for 3600 s in all, where spec.limits.activeSeconds allows 3600 s,"
            " so its Job was deleted."
        ),
        "hint": "Raise spec.limits.activeSeconds, or ask for less training; the change starts the next run.",
        "retryable": False,
    }
    run = decision.status["run"]
    assert (run["completionTime"], run["wastedSeconds"], run["podEnded"]) == (world.time(3610), 3600, True)


@pytest.mark.parametrize(("seconds", "again"), [(10, 300), (3400, 210), (3600, 10)])
def test_a_running_pod_is_looked_at_when_its_time_is_up(seconds: float, again: float) -> None:
    decision = world.decide(_look(seconds, world.a_running_pod()))
    assert decision.delete == ()
    assert decision.requeue_after_seconds == again


def test_the_time_of_earlier_attempts_counts_and_that_of_a_queue_does_not() -> None:
    first = world.a_finished_pod(1, ended=3010)
    first["status"]["containerStatuses"][1]["state"]["terminated"]["startedAt"] = world.time(10)
    second = world.a_running_pod("vdr-1-b", started=9000, created=8990)
    assert world.decide(_look(9599, first, second)).delete == ()
    assert len(world.decide(_look(9600, first, second)).delete) == 1


def test_a_trainer_that_has_just_ended_well_is_not_ended() -> None:
    pod = world.a_finished_pod(0, json.dumps(world.a_report()), ended=3700)
    pod["status"]["containerStatuses"][1]["state"]["terminated"]["startedAt"] = world.time(10)
    assert world.decide(_look(3700, pod)).delete == ()


def test_a_run_without_a_limit_runs_on() -> None:
    assert world.decide(_look(99_999, world.a_running_pod(), spec=world.SPEC)).delete == ()


@pytest.mark.parametrize(
    ("spec", "hint"),
    [
        (
            world.SPEC,
            "Give the run a place to go on from in spec.runtime.checkpoints, or nodes that stay.",
        ),
        (
            KEPT,
            "See why its pods are stopped, or lower spec.runtime.checkpoints.everySeconds.",
        ),
    ],
    ids=["no checkpoints", "checkpoints"],
)
def test_the_fifth_interruption_in_a_row_without_progress_ends_the_run(spec: world.Object, hint: str) -> None:
    interrupted = world.a_finished_pod(143)
    interrupted["status"]["containerStatuses"][1]["state"]["terminated"]["startedAt"] = world.time(10)
    assert world.decide(_look(600, interrupted, spec=spec, vainInterruptions=3)).delete == ()
    decision = world.decide(_look(600, interrupted, spec=spec, vainInterruptions=4))
    assert [d.name for d in decision.delete] == ["vdr-1"]
    failure = decision.status["failure"]
    told = f"{hint} Then set spec.rerun to a new word."
    assert (failure["reason"], failure["hint"], failure["retryable"]) == ("NoProgress", told, True)
    assert failure["message"] == (
        "Run 1 was interrupted 5 times in a row without leaving a newer checkpoint, so it was given up."
    )


def _lost(**parts: Any) -> Observed:
    usual = {"job": world.complete(world.a_job()), "config": world.a_config()}
    return world.a_look(world.started(), **{**usual, **parts})


def test_a_complete_job_whose_pod_and_report_are_gone_gets_one_more_attempt() -> None:
    look = _lost()
    decision = world.decide(look)
    assert [d.name for d in decision.delete] == ["vdr-1"]
    assert world.said(decision.status, "Reconciling") == (
        "True",
        "ReportLost",
        "Job vdr-1 is complete, but its pod is gone and its Report is lost: it is made again.",
    )
    finetune = {**look.finetune, "status": decision.status}
    going = world.complete(world.a_job(deletionTimestamp=world.time(601)))
    waiting = world.decide(world.a_look(finetune, job=going, config=world.a_config()))
    assert (waiting.create, waiting.delete, waiting.status["run"]["reportLost"]) == ((), (), True)
    again = world.decide(world.a_look({**finetune, "status": waiting.status}, config=world.a_config()))
    assert world.all_objects(again.create) == ["Job/vdr-1"]
    assert world.said(again.status, "Reconciling") == (
        "True",
        "ReportLost",
        (
            "Job vdr-1 was made again, as the Report of run 1 was lost."
            " What was published already is reported once more."
        ),
    )


def test_a_second_complete_job_without_a_report_ends_the_run() -> None:
    look = _lost()
    finetune = {**look.finetune, "status": world.decide(look).status}
    status = world.decide(replace(look, finetune=finetune)).status
    assert status["failure"]["reason"] == "ReportMissing"


def test_a_posted_report_loses_nothing() -> None:
    posted = PostedReport(Report.model_validate(world.a_report()), "a pod that is gone")
    assert world.decide(_lost(report=posted)).status["phase"] == "Ready"


def test_a_pod_that_is_there_and_left_no_report_gets_no_other_attempt() -> None:
    status = world.decide(_lost(pods=(world.a_finished_pod(0),))).status
    assert status["failure"]["reason"] == "ReportMissing"
