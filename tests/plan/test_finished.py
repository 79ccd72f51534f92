"""How a run ends: by its Report, wherever that is found, and else by what is left of its pods."""

import json
from typing import Any

import pytest

from finetune_api.report import Report
from finetune_api.status import Progress
from finetune_operator.decisions.observed import Observed, PostedReport
from tests.plan import world

EARLIER = {**world.ARTIFACT, "uri": "pvc://published/vdr/1-earlier"}
NUMBERS = "pages_cosine_ndcg@10 went from 0.016 to 0.940 (gain 0.924, 95 % interval 0.901 to 0.944)."


def _ended(left: world.Object | None = None, *, code: int = 0, **parts: Any) -> Observed:
    """A run whose only pod ended with that code and left that Report."""
    job = world.complete(world.a_job()) if code == 0 else world.failed(world.a_job())
    pods = (world.a_finished_pod(code, json.dumps(left) if left else ""),)
    usual = {"job": job, "config": world.a_config(), "pods": pods}
    return world.a_look(world.started(), **{**usual, **parts})


def _posted(outcome: str = "Succeeded", by: str = "uid-of-vdr-1-abcde", **parts: Any) -> PostedReport:
    return PostedReport(Report.model_validate(world.a_report(outcome, **parts)), by)


def test_a_published_model_is_ready_with_numbers_artifact_and_lineage() -> None:
    status = world.decide(_ended(world.a_report())).status
    assert world.said(status, "Ready") == (
        "True",
        "Published",
        f"Run 1 published pvc://published/vdr/1-0123456789ab. {NUMBERS}",
    )
    assert world.said(status, "GatePassed") == (
        "True",
        "GatesHold",
        "All gates hold: pages ndcg@10: found 0.940, wanted at least 0.90.",
    )
    assert (status["phase"], status["artifact"], status["lineage"]) == (
        "Ready",
        world.ARTIFACT,
        world.LINEAGE,
    )
    assert status["evaluation"] == {
        **world.MEASURED,
        "run": 1,
        "gateData": {"digest": "sha256:cc", "decisions": 1},
    }
    assert status["run"]["completionTime"] == world.time(600)


def test_without_an_output_the_model_is_measured_and_nothing_published() -> None:
    status = world.decide(_ended(world.a_report(artifact=None))).status
    assert world.said(status, "Ready") == (
        "True",
        "Measured",
        f"Run 1 measured the model; spec.output asks for no publishing. {NUMBERS}",
    )
    assert world.said(status, "Published") == (
        "False",
        "NoOutput",
        "spec.output is absent: nothing is published.",
    )


def test_without_a_baseline_there_is_no_talk_of_a_gain() -> None:
    primary = {k: world.MEASURED["primary"][k] for k in ("name", "dimension", "queries", "clusters", "tuned")}
    measured = {**world.MEASURED, "primary": {**primary, "comparedTo": "None"}, "gates": []}
    status = world.decide(_ended(world.a_report(measured=measured))).status
    assert world.said(status, "Ready") == (
        "True",
        "Published",
        "Run 1 published pvc://published/vdr/1-0123456789ab. pages_cosine_ndcg@10 is 0.940.",
    )
    assert world.said(status, "GatePassed") == (
        "True",
        "NoGates",
        "spec.evaluation.gates is empty: every result passes.",
    )


def test_a_gain_without_an_interval_is_told_without() -> None:
    primary = {k: v for k, v in world.MEASURED["primary"].items() if k not in {"gainLow", "gainHigh"}}
    status = world.decide(_ended(world.a_report(measured={**world.MEASURED, "primary": primary}))).status
    assert world.said(status, "Ready") == (
        "True",
        "Published",
        (
            "Run 1 published pvc://published/vdr/1-0123456789ab."
            " pages_cosine_ndcg@10 went from 0.016 to 0.940 (gain 0.924)."
        ),
    )


@pytest.mark.parametrize(("clusters", "warned"), [(99, True), (100, False)])
def test_few_groups_of_queries_are_called_low_power(clusters: int, *, warned: bool) -> None:
    measured = world.changed(world.MEASURED, "primary.clusters", clusters)
    for report in (world.a_report(measured=measured), world.a_report("GateFailed", measured=measured)):
        found = world.said(world.decide(_ended(report)).status, "GatePassed")
        assert found is not None
        assert (" LowPower: 99 groups of queries, where a sure interval needs 100." in found[2]) == warned


def test_a_gate_that_says_no_stalls_and_publishes_nothing() -> None:
    status = world.decide(_ended(world.a_report("GateFailed"))).status
    why = "Run 1 did not pass its gates: pages ndcg@10: found 0.850, wanted at least 0.90."
    assert world.said(status, "GatePassed") == ("False", "GateNotPassed", why)
    assert world.said(status, "Published") == ("False", "GateNotPassed", "Nothing was published by run 1.")
    assert world.said(status, "Stalled") == (
        "True",
        "GateNotPassed",
        f"{why} Nothing was published by run 1. You: change the spec, the data or the gates.",
    )
    assert (status["phase"], status["evaluation"]["primary"]["tuned"]) == ("GateFailed", "0.850")


def test_a_gate_that_says_no_leaves_the_earlier_model() -> None:
    finetune = world.started()
    finetune["status"]["artifact"] = EARLIER
    finetune["status"]["run"]["number"] = 2
    finetune["status"]["run"]["job"] = "vdr-2"
    look = _ended(world.a_report("GateFailed", run=2))
    status = world.decide(world.a_look(finetune, job=look.job, config=look.config, pods=look.pods)).status
    assert status["artifact"] == EARLIER
    assert world.said(status, "Published") == (
        "False",
        "GateNotPassed",
        "Nothing was published: the model of run 1 stays at pvc://published/vdr/1-earlier.",
    )


@pytest.mark.parametrize(
    ("gates", "why"),
    [
        ([{"evaluator": "pages", "metric": "ndcg@10", "passed": False, "message": ""}], "pages ndcg@10"),
        ([], "the run's full report says which"),
    ],
)
def test_a_report_cut_short_still_says_what_it_can(gates: list[world.Object], why: str) -> None:
    report = world.a_report("GateFailed", measured={**world.MEASURED, "gates": gates})
    found = world.said(world.decide(_ended(report)).status, "GatePassed")
    assert found == ("False", "GateNotPassed", f"Run 1 did not pass its gates: {why}.")


def test_a_report_without_numbers_still_ends_the_run() -> None:
    for outcome, phase in (("Succeeded", "Ready"), ("GateFailed", "GateFailed")):
        status = world.decide(_ended(world.a_report(outcome, measured=None, lineage=None))).status
        assert (status["phase"], status.get("evaluation")) == (phase, None)


def test_a_failure_is_told_in_the_words_of_the_report() -> None:
    status = world.decide(_ended(world.a_report("Failed"), code=11)).status
    assert status["failure"] == {
        "reason": "ColumnMissing",
        "message": "column 'image' is not in pages",
        "hint": "Name one that is.",
        "retryable": False,
    }
    assert world.said(status, "Stalled") == (
        "True",
        "ColumnMissing",
        "column 'image' is not in pages. You: Name one that is.",
    )
    assert world.said(status, "Published") == ("False", "ColumnMissing", "Run 1 published nothing.")
    assert world.said(status, "GatePassed") == (
        "Unknown",
        "NotDecided",
        "Run 1 failed before its gates were decided.",
    )


def test_a_failure_after_the_gates_have_held_says_that_they_held() -> None:
    report = world.a_report("Failed", measured=world.MEASURED, lineage=world.LINEAGE)
    status = world.decide(_ended(report, code=14)).status
    assert world.verdicts(status, "Ready", "GatePassed") == ["False", "True"]
    assert status["evaluation"]["gateData"]["decisions"] == 1


def test_a_failed_report_without_a_failure_is_told_as_such() -> None:
    status = world.decide(_ended(world.a_report("Failed", failure=None), code=1)).status
    assert status["failure"]["message"] == "The Report of Job vdr-1 says that it failed, but not why."


@pytest.mark.parametrize(("outcome", "code", "phase"), [("Succeeded", 1, "Ready"), ("Failed", 0, "Failed")])
def test_the_report_is_believed_before_the_exit_code(outcome: str, code: int, phase: str) -> None:
    assert world.decide(_ended(world.a_report(outcome), code=code)).status["phase"] == phase


def test_a_posted_report_counts_when_the_pod_is_gone() -> None:
    status = world.decide(_ended(pods=(), report=_posted())).status
    assert status["phase"] == "Ready"


def test_a_termination_message_goes_before_a_posted_report() -> None:
    status = world.decide(_ended(world.a_report("GateFailed"), report=_posted())).status
    assert status["phase"] == "GateFailed"


@pytest.mark.parametrize("parts", [{"run": 2}, {"uid": "another"}])
def test_a_report_of_another_run_or_finetune_is_not_believed(parts: dict[str, Any]) -> None:
    for look in (_ended(world.a_report(**parts)), _ended(report=_posted(**parts))):
        assert world.decide(look).status["failure"]["reason"] == "ReportMissing"


def test_a_posted_failure_of_an_earlier_attempt_does_not_explain_a_killed_pod() -> None:
    killed = (world.a_finished_pod(137, reason="OOMKilled"),)
    status = world.decide(_ended(code=1, pods=killed, report=_posted("Failed", by="an earlier pod"))).status
    assert status["failure"]["reason"] == "HostOutOfMemory"


def test_a_posted_failure_of_a_pod_that_is_gone_explains_a_job_of_which_no_pod_is_left() -> None:
    status = world.decide(_ended(code=11, pods=(), report=_posted("Failed", by="a pod that is gone"))).status
    assert status["failure"]["reason"] == "ColumnMissing"


def test_a_posted_failure_explains_a_pod_that_ended_by_itself() -> None:
    status = world.decide(_ended(code=11, report=_posted("Failed"))).status
    assert status["failure"]["reason"] == "ColumnMissing"


def test_a_posted_success_is_believed_although_the_pod_was_killed_afterwards() -> None:
    killed = (world.a_finished_pod(137),)
    posted = _posted(by="an earlier pod")
    assert world.decide(_ended(code=1, pods=killed, report=posted)).status["phase"] == "Ready"


def test_the_last_pod_decides() -> None:
    first = world.a_finished_pod(1, json.dumps(world.a_report("Failed")), ended=100)
    last = world.a_finished_pod(1, json.dumps(world.a_report()), name="vdr-1-b", ended=200)
    assert world.decide(_ended(pods=(last, first), code=1)).status["phase"] == "Ready"


def test_a_pod_that_succeeded_decides_whenever_it_ended() -> None:
    good = world.a_finished_pod(0, json.dumps(world.a_report()), ended=100)
    bad = world.a_finished_pod(1, json.dumps(world.a_report("Failed")), name="vdr-1-b", ended=200)
    assert world.decide(_ended(pods=(good, bad))).status["phase"] == "Ready"


def test_a_finished_job_counts_also_while_somebody_deletes_it() -> None:
    job = world.complete(world.a_job(deletionTimestamp=world.time(601)))
    assert world.decide(_ended(world.a_report(), job=job)).status["phase"] == "Ready"


def test_a_job_that_does_not_tell_its_end_ended_now() -> None:
    job = world.complete(world.a_job())
    del job["status"]["conditions"][0]["lastTransitionTime"]
    assert world.decide(_ended(world.a_report(), job=job)).status["run"]["completionTime"] == world.time(600)


def test_the_last_progress_is_kept_only_if_there_was_one() -> None:
    for progress, kept in ((Progress(percent=100), {"percent": 100}), (None, None)):
        live = world.live("Publishing", progress, 580)
        assert world.decide(_ended(world.a_report(), live=live)).status.get("progress") == kept


def test_the_same_data_deciding_again_in_a_later_run_is_counted() -> None:
    finetune = world.concluded(world.a_report())
    for number in (2, 3):
        spec = world.changed(world.SPEC, "training", {"seed": number})
        finetune = _rerun(world.edited(finetune, spec), number)
        assert finetune["status"]["evaluation"]["gateData"] == {"digest": "sha256:cc", "decisions": number}
    other = {**world.LINEAGE, "evalData": "sha256:dd"}
    finetune = _rerun(
        world.edited(finetune, world.changed(world.SPEC, "training", {"seed": 9})), 4, lineage=other
    )
    assert finetune["status"]["evaluation"]["gateData"] == {"digest": "sha256:dd", "decisions": 1}


def test_a_run_that_fails_keeps_the_count_of_the_ones_before() -> None:
    finetune = world.concluded(world.a_report())
    spec = world.changed(world.SPEC, "training", {"seed": 2})
    finetune = _rerun(world.edited(finetune, spec), 2, outcome="Failed")
    assert finetune["status"]["evaluation"]["run"] == 1
    finetune = _rerun(world.edited(finetune, world.changed(world.SPEC, "training", {"seed": 3})), 3)
    assert finetune["status"]["evaluation"]["gateData"]["decisions"] == 2


def test_numbers_without_lineage_do_not_count() -> None:
    finetune = world.concluded(world.a_report(lineage=None))
    assert "gateData" not in finetune["status"]["evaluation"]


def _rerun(finetune: world.Object, number: int, outcome: str = "Succeeded", **parts: Any) -> world.Object:
    """The finetune after the run of that number, from the changed spec to its Report."""
    look = world.a_look(finetune)
    for _ in range(2):
        look = world.applied(look, world.decide(look))
    return world.concluded(world.a_report(outcome, run=number, **parts), look.finetune, spec=finetune["spec"])
