"""A run that pauses, because its user or a queue wants it so, and goes on."""

import json
from typing import Any

import pytest

from finetune_api.report import Report
from finetune_api.status import Progress
from finetune_operator.decisions.observed import Observed, PostedReport
from finetune_operator.decisions.plan import Plan
from finetune_operator.decisions.runs import is_settled
from tests.plan import world

GOES_ON = "goes on from the checkpoint of step 50, so that 34 steps are done again."
KEPT = world.changed(world.SPEC, "runtime", {"checkpoints": {"claim": "scratch"}})
JOB = world.a_job(status={"active": 1})
GOING = world.a_job(status={"active": 1}, deletionTimestamp=world.time(500))
HELD = {**world.a_job(), "spec": {"suspend": True}}


def _paused(spec: world.Object) -> world.Object:
    return world.changed(spec, "suspend", True)


def _running(spec: world.Object = KEPT, **live: Any) -> world.Object:
    """A finetune whose pod trains."""
    told = world.live("Training", Progress(percent=42, step=84), 60, **live)
    return then(world.started(spec), pods=(world.a_running_pod(),), live=told, job=job_of(spec))


def job_of(spec: world.Object) -> world.Object:
    return world.a_job(spec=spec, status={"active": 1})


def look(finetune: world.Object, **parts: Any) -> Observed:
    spec = {k: v for k, v in finetune["spec"].items() if k != "suspend"}
    return world.a_look(finetune, **{"config": world.a_config(spec), **parts})


def then(finetune: world.Object, **parts: Any) -> world.Object:
    return {**finetune, "status": world.decide(look(finetune, **parts)).status}


def _suspended(finetune: world.Object) -> world.Object:
    """The finetune, suspended, after its Job has gone."""
    return then(world.edited(finetune, _paused(finetune["spec"])))


def checkpointed() -> world.Object:
    return _running(checkpoint_step=50, checkpoint_at=world.at(50))


def test_suspending_takes_the_job_away_and_says_that_the_pod_may_save_a_checkpoint() -> None:
    finetune = world.edited(_running(), _paused(KEPT))
    decision = world.decide(look(finetune, job=job_of(KEPT), pods=(world.a_running_pod(),)))
    assert [(d.kind, d.name) for d in decision.delete] == [("Job", "vdr-1")]
    assert world.said(decision.status, "Reconciling") == (
        "True",
        "Suspending",
        (
            "spec.suspend asks for it: pod vdr-1-abcde has 300 s to save a checkpoint and end"
            " (spec.runtime.terminationGracePeriodSeconds)."
        ),
    )
    assert (decision.status["phase"], decision.status["progress"]["percent"]) == ("Training", 42)
    again = world.decide(
        look({**finetune, "status": decision.status}, job=GOING, pods=(world.a_running_pod(),))
    )
    assert (again.status, again.delete, again.create) == (decision.status, (), ())


def test_a_suspended_run_keeps_its_numbers_and_costs_nothing() -> None:
    finetune = _suspended(checkpointed())
    status, run = finetune["status"], finetune["status"]["run"]
    words = f"Once spec.suspend is false, run 1 {GOES_ON}"
    assert world.said(status, "Suspended") == ("True", "Suspended", words)
    assert world.said(status, "Ready") == ("Unknown", "Suspended", words)
    assert world.verdicts(status, "Reconciling", "Stalled") == [None, None]
    assert (status["phase"], status["progress"]["percent"]) == ("Suspended", 42)
    assert (run["number"], run["interruptions"], run.get("vainInterruptions", 0)) == (1, 1, 0)
    assert is_settled(finetune)
    assert world.decide(look(finetune)) == Plan(status)


@pytest.mark.parametrize(
    ("spec", "fate"),
    [
        (KEPT, "starts over, as there is no checkpoint of it yet."),
        (world.SPEC, "starts over, as its progress is lost without spec.runtime.checkpoints."),
    ],
)
def test_it_is_said_when_progress_is_lost(spec: world.Object, fate: str) -> None:
    said = world.said(_suspended(_running(spec))["status"], "Suspended")
    assert said == ("True", "Suspended", f"Once spec.suspend is false, run 1 {fate}")


def test_a_resumed_run_gets_its_next_job_under_the_same_name() -> None:
    finetune = world.edited(_suspended(checkpointed()), KEPT)
    decision = world.decide(look(finetune))
    assert world.all_objects(decision.create) == ["Job/vdr-1"]
    words = f"Run 1 was resumed as Job vdr-1: it {GOES_ON}"
    assert world.said(decision.status, "Reconciling") == ("True", "Resumed", words)
    assert world.verdicts(decision.status, "Suspended") == [None]
    assert decision.status["run"]["number"] == 1
    later = then(
        {**finetune, "status": decision.status}, job=job_of(KEPT), pods=(world.a_pod("vdr-1-b", created=700),)
    )
    assert world.said(later["status"], "Reconciling") == ("True", "Resumed", words)
    assert later["status"]["run"]["attempt"] == 2


def test_a_run_that_is_resumed_while_its_job_still_goes_waits_until_it_is_gone() -> None:
    stopping = world.edited(_running(), _paused(KEPT))
    stopping = then(stopping, job=job_of(KEPT), pods=(world.a_running_pod(),))
    back = world.edited(stopping, KEPT)
    going = world.a_job(spec=KEPT, deletionTimestamp=world.time(500))
    decision = world.decide(look(back, job=going, pods=(world.a_running_pod(),)))
    assert (decision.create, decision.delete) == ((), ())
    reconciling = world.said(decision.status, "Reconciling")
    assert reconciling is not None
    assert reconciling[1] == "Resuming"
    made = world.decide(look({**back, "status": decision.status}))
    assert world.all_objects(made.create) == ["Job/vdr-1"]
    words = "Run 1 was resumed as Job vdr-1: it starts over, as there is no checkpoint of it yet."
    assert world.said(made.status, "Reconciling") == ("True", "Resumed", words)


def test_a_limit_that_changed_meanwhile_holds_from_the_resumed_job_on() -> None:
    changed = world.changed(KEPT, "runtime.resources", {"limits": {"memory": "8Gi"}})
    look = world.a_look(world.edited(_suspended(_running()), changed), config=world.a_config(KEPT))
    decision = world.decide(look)
    assert ([d.kind for d in decision.delete], decision.create) == (["ConfigMap"], ())
    look = world.applied(look, decision)
    decision = world.decide(look)
    assert world.all_objects(decision.create) == ["ConfigMap/vdr-1", "Job/vdr-1"]
    said = world.said(decision.status, "Reconciling")
    assert said is not None
    assert said[1] == "Resumed"


def test_a_finetune_that_is_applied_suspended_gets_no_job_until_it_is_let_go() -> None:
    finetune = world.a_finetune(_paused(world.SPEC))
    decision = world.decide(world.a_look(finetune))
    assert (decision.create, decision.requeue_after_seconds) == ((), None)
    assert world.said(decision.status, "Suspended") == (
        "True", "Suspended", "Run 1 begins once spec.suspend is false.",
    )  # fmt: skip
    let_go = world.edited({**finetune, "status": decision.status}, world.SPEC)
    decision = world.decide(world.a_look(let_go, now=world.at(99_000)))
    assert world.all_objects(decision.create) == ["ConfigMap/vdr-1", "Job/vdr-1"]
    assert world.said(decision.status, "Reconciling") == (
        "True", "Starting", "Job vdr-1 was made; its pod comes up.",
    )  # fmt: skip


@pytest.mark.parametrize(
    "pod",
    [world.an_unschedulable_pod("0/1 nodes are available"), world.a_pod(), world.a_finished_pod(1)],
    ids=["pending", "starting", "between two attempts"],
)
def test_a_run_whose_pod_does_not_run_is_suspended_too(pod: world.Object) -> None:
    finetune = world.edited(then(world.started(), job=JOB, pods=(pod,)), _paused(world.SPEC))
    decision = world.decide(look(finetune, job=JOB, pods=(pod,)))
    assert [d.name for d in decision.delete] == ["vdr-1"]
    assert world.verdicts(then({**finetune, "status": decision.status})["status"], "Suspended") == ["True"]


def test_a_run_that_a_queue_holds_back_is_suspended_too() -> None:
    finetune = world.edited(then(world.started(), job=HELD), _paused(world.SPEC))
    decision = world.decide(look(finetune, job=HELD))
    assert [d.name for d in decision.delete] == ["vdr-1"]


@pytest.mark.parametrize("outcome", ["Succeeded", "GateFailed", "Failed"])
def test_a_run_that_is_over_stays_as_it_is(outcome: str) -> None:
    finetune = world.concluded(world.a_report(outcome))
    suspended = world.edited(finetune, _paused(world.SPEC))
    job = world.complete(world.a_job())
    decision = world.decide(look(suspended, job=job))
    assert (decision.create, decision.delete) == ((), ())
    assert decision.status["observedGeneration"] == 2
    for part in ("phase", "run", "failure"):
        assert decision.status.get(part) == finetune["status"].get(part)
    assert is_settled({**suspended, "status": decision.status})


def test_a_spec_that_changes_while_suspended_decides_the_next_run_but_starts_none() -> None:
    other = world.changed(world.SPEC, "training", {"seed": 1})
    finetune = world.edited(_suspended(_running(world.SPEC)), _paused(other))
    look = world.a_look(finetune, config=world.a_config())
    for _ in range(3):
        decision = world.decide(look)
        assert decision.create == ()
        look = world.applied(look, decision)
    assert decision.status["run"] == {"number": 2, "specHash": world.hash_of(other), "job": "vdr-2"}
    assert world.said(decision.status, "Suspended") == (
        "True", "Suspended", "Run 2 begins once spec.suspend is false.",
    )  # fmt: skip
    assert "progress" not in decision.status


def test_a_previous_job_is_gone_before_the_next_run_counts_as_suspended() -> None:
    other = _paused(world.changed(world.SPEC, "training", {"seed": 1}))
    finetune = world.edited(world.started(), other)
    finetune = {**finetune, "status": world.decide(world.a_look(finetune, job=JOB)).status}
    decision = world.decide(world.a_look(finetune, previous_job=GOING))
    assert world.verdicts(decision.status, "Reconciling", "Suspended") == ["True", None]
    decision = world.decide(world.a_look(finetune))
    assert world.verdicts(decision.status, "Reconciling", "Suspended") == [None, "True"]


def test_a_job_that_just_ended_is_concluded_and_not_suspended() -> None:
    finetune = world.edited(_running(world.SPEC), _paused(world.SPEC))
    pods = (world.a_finished_pod(message=json.dumps(world.a_report())),)
    assert world.decide(look(finetune, job=JOB, pods=pods)).delete == ()
    assert world.decide(look(finetune, job=world.complete(JOB), pods=pods)).status["phase"] == "Ready"


@pytest.mark.parametrize("job", [None, GOING], ids=["gone", "going"])
def test_a_verdict_that_was_found_while_the_job_went_counts(job: world.Object | None) -> None:
    finetune = world.edited(_running(world.SPEC), _paused(world.SPEC))
    posted = PostedReport(Report.model_validate(world.a_report()), "uid-of-vdr-1-abcde")
    assert world.decide(look(finetune, job=job, report=posted)).status["phase"] == "Ready"


def test_a_pod_that_had_to_be_killed_in_the_end_is_no_failure() -> None:
    finetune = world.edited(_running(world.SPEC), _paused(world.SPEC))
    killed = world.a_finished_pod(137)
    killed["metadata"]["deletionTimestamp"] = world.time(500)
    failed = world.failed(GOING)
    decision = world.decide(look(finetune, job=failed, pods=(killed,)))
    assert world.verdicts(decision.status, "Reconciling", "Stalled") == ["True", None]
    found = world.a_finished_pod(11, json.dumps(world.a_report("Failed")))
    assert world.decide(look(finetune, job=failed, pods=(found,))).status["phase"] == "Failed"


def test_a_spec_that_became_invalid_and_is_suspended_stops_its_job_too() -> None:
    broken = _paused(world.changed(world.SPEC, "training", {"epochs": "-1"}))
    decision = world.decide(world.a_look(world.edited(_running(world.SPEC), broken), job=JOB))
    assert world.verdicts(decision.status, "Stalled") == ["True"]
    assert [d.name for d in decision.delete] == ["vdr-1"]
