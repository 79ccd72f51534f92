"""A spec that changes: another run, another try, other gates, or nothing at all."""

import pytest

from finetune_api.results import Metric
from finetune_operator.decisions.runs import awaits_previous_job, children_name, run_number
from tests.plan import world

OTHER = world.changed(world.SPEC, "training", {"seed": 1})
NOT_PASSED = "Run 1 did not pass its gates: pages ndcg@10:"
GATE = {"evaluator": "pages", "metric": "ndcg@10"}


def _gates(**gate: str) -> world.Object:
    return world.changed(world.SPEC, "evaluation.gates", [{**GATE, **gate}])


def test_a_changed_spec_stops_the_job_before_the_next_run_gets_one() -> None:
    finetune = world.edited(world.started(), OTHER)
    look = world.a_look(finetune, job=world.a_job(), config=world.a_config(), pods=(world.a_running_pod(),))
    decision = world.decide(look)
    assert [(d.kind, d.name) for d in decision.delete] == [("Job", "vdr-1"), ("ConfigMap", "vdr-1")]
    assert (decision.create, decision.requeue_after_seconds) == ((), 0.0)
    words = ("True", "SpecChanged", "The spec has changed: run 1 gives way to a new one.")
    assert world.said(decision.status, "Reconciling") == words
    assert decision.status["run"] == {
        "number": 2,
        "specHash": world.hash_of(OTHER),
        "job": "vdr-2",
    }

    waiting = {**finetune, "status": decision.status}
    assert (awaits_previous_job(waiting), run_number(waiting), children_name(waiting)) == (True, 2, "vdr-2")
    going = world.a_job(deletionTimestamp=world.time(600))
    decision = world.decide(world.a_look(waiting, previous_job=going))
    assert (decision.create, decision.delete, decision.requeue_after_seconds) == ((), (), 2.0)
    assert decision.status == waiting["status"]

    decision = world.decide(world.a_look(waiting))
    assert world.all_objects(decision.create) == ["ConfigMap/vdr-2", "Job/vdr-2"]
    assert world.said(decision.status, "Reconciling") == (
        "True",
        "Starting",
        "Job vdr-2 was made; its pod comes up.",
    )


def test_a_previous_job_that_nobody_has_deleted_yet_is_deleted() -> None:
    finetune = world.edited(world.started(), OTHER)
    waiting = {**finetune, "status": world.decide(world.a_look(finetune)).status}
    decision = world.decide(world.a_look(waiting, previous_job=world.a_job()))
    assert ([d.name for d in decision.delete], decision.create) == (["vdr-1"], ())


@pytest.mark.parametrize("owners", [[], [{**world.OWNER, "uid": "another"}]])
def test_a_previous_job_of_somebody_else_is_none_of_ours(owners: list[world.Object]) -> None:
    finetune = world.edited(world.started(), OTHER)
    waiting = {**finetune, "status": world.decide(world.a_look(finetune)).status}
    decision = world.decide(world.a_look(waiting, previous_job=world.a_job(ownerReferences=owners)))
    assert world.all_objects(decision.create) == ["ConfigMap/vdr-2", "Job/vdr-2"]


def test_a_job_of_a_stranger_is_not_deleted_with_the_run() -> None:
    finetune = world.edited(world.started(), OTHER)
    assert world.decide(world.a_look(finetune, job=world.a_job(ownerReferences=[]))).delete == ()


def test_a_run_without_a_job_hands_its_number_on() -> None:
    """Else the Job of the run before it would no longer be waited for."""
    finetune = world.edited(world.started(), OTHER)
    waiting = {**finetune, "status": world.decide(world.a_look(finetune)).status}
    third = world.changed(world.SPEC, "training", {"seed": 2})
    decision = world.decide(world.a_look(world.edited(waiting, third), previous_job=world.a_job()))
    assert decision.status["run"] == {
        "number": 2,
        "specHash": world.hash_of(third),
        "job": "vdr-2",
    }


def test_a_wait_without_words_finds_its_own() -> None:
    finetune = world.edited(world.started(), OTHER)
    status = world.decide(world.a_look(finetune)).status
    waiting = {**finetune, "status": {**status, "conditions": []}}
    decision = world.decide(world.a_look(waiting, previous_job=world.a_job()))
    assert world.said(decision.status, "Reconciling") == (
        "True",
        "Starting",
        "Job vdr-2 was made; its pod comes up.",
    )


def test_the_published_model_stays_while_the_next_run_goes_on() -> None:
    finetune = world.edited(world.concluded(world.a_report()), OTHER)
    status = world.decide(world.a_look(finetune)).status
    assert (status["artifact"], status["evaluation"]["run"]) == (world.ARTIFACT, 1)
    assert world.said(status, "Published") == (
        "Unknown",
        "NotDecided",
        "Run 2 has published nothing yet. The model of run 1 stays published at pvc://published/vdr/1-0123456789ab.",
    )


def test_a_change_without_another_hash_leaves_a_published_model_as_it_is() -> None:
    finetune = world.concluded(world.a_report())
    changed = world.edited(finetune, world.changed(world.SPEC, "limits.retries", 0))
    decision = world.decide(world.a_look(changed, job=world.complete(world.a_job()), config=world.a_config()))
    assert (decision.create, decision.delete) == ((), ())
    assert decision.status["observedGeneration"] == 2
    before, after = finetune["status"], decision.status
    for part in ("run", "artifact", "lineage", "phase"):
        assert before[part] == after[part]
    assert after["evaluation"]["gateData"]["decisions"] == 1
    assert world.verdicts(after, "Ready", "GatePassed", "Published") == ["True", "True", "True"]


def test_any_change_tries_again_after_a_failure() -> None:
    finetune = world.edited(
        world.concluded(world.a_report("Failed")), world.changed(world.SPEC, "limits.retries", 0)
    )
    decision = world.decide(world.a_look(finetune, job=world.failed(world.a_job())))
    assert (decision.status["run"]["number"], [d.name for d in decision.delete]) == (2, ["vdr-1"])


def test_a_gate_that_now_says_no_stalls_and_leaves_what_is_published() -> None:
    finetune = world.edited(world.concluded(world.a_report()), _gates(minimum="0.95"))
    decision = world.decide(world.a_look(finetune, config=world.a_config()))
    assert (decision.create, decision.status["phase"], decision.status["artifact"]) == (
        (),
        "GateFailed",
        world.ARTIFACT,
    )
    assert world.said(decision.status, "GatePassed") == (
        "False",
        "GateNotPassed",
        f"{NOT_PASSED} found 0.9400, wanted at least 0.95 (from stored numbers).",
    )
    assert world.said(decision.status, "Published") == (
        "True",
        "Published",
        "Its model was published before the gates changed and stays at pvc://published/vdr/1-0123456789ab.",
    )
    back = world.edited({**finetune, "status": decision.status}, world.SPEC)
    again = world.decide(world.a_look(back, config=world.a_config()))
    assert (again.create, again.status["phase"]) == ((), "Ready")


def test_a_gate_that_now_says_yes_runs_again_because_the_model_was_not_kept() -> None:
    finetune = world.edited(world.concluded(world.a_report("GateFailed")), _gates(minimum="0.80"))
    decision = world.decide(world.a_look(finetune, config=world.a_config()))
    assert decision.status["run"]["number"] == 2
    assert world.said(decision.status, "Reconciling") == (
        "True",
        "GatesChanged",
        "Run 1 passes the changed gates, but its model was not kept: it runs again.",
    )


def test_a_gate_that_now_says_yes_is_ready_when_nothing_is_to_be_published() -> None:
    measuring = world.changed(world.SPEC, "output", None)
    finetune = world.concluded(world.a_report("GateFailed"), spec=measuring)
    eased = world.changed(_gates(minimum="0.80"), "output", None)
    finetune["status"]["run"]["specHash"] = world.hash_of(eased)
    decision = world.decide(world.a_look(world.edited(finetune, eased)))
    assert world.verdicts(decision.status, "Ready", "GatePassed") == ["True", "True"]


def test_a_gate_that_still_says_no_says_so_in_the_new_words() -> None:
    finetune = world.edited(world.concluded(world.a_report("GateFailed")), _gates(minimum="0.99"))
    status = world.decide(world.a_look(finetune)).status
    assert world.said(status, "GatePassed") == (
        "False",
        "GateNotPassed",
        f"{NOT_PASSED} found 0.8500, wanted at least 0.99 (from stored numbers).",
    )


def test_gates_without_any_number_let_everything_pass() -> None:
    finetune = world.edited(
        world.concluded(world.a_report()), world.changed(world.SPEC, "evaluation.gates", [])
    )
    status = world.decide(world.a_look(finetune)).status
    assert world.said(status, "GatePassed") == (
        "True",
        "NoGates",
        "spec.evaluation.gates is empty: every result passes.",
    )


def test_a_gate_on_a_number_that_was_not_stored_runs_again() -> None:
    finetune = world.edited(world.concluded(world.a_report()), _gates(metric="map@100", minimum="0.1"))
    decision = world.decide(world.a_look(finetune, config=world.a_config()))
    assert world.said(decision.status, "Reconciling") == (
        "True",
        "GatesChanged",
        "The gates have changed and read numbers that run 1 did not store: it runs again.",
    )
    assert decision.status["evaluation"]["gateData"]["decisions"] == 1


def test_gates_that_did_not_change_keep_a_verdict_whose_numbers_are_not_stored() -> None:
    """A Report has room for some metrics only."""
    spec = _gates(metric="map@100", minimum="0.1")
    finetune = world.concluded(world.a_report(), world.started(spec), spec=spec)
    changed = world.edited(finetune, world.changed(spec, "limits.retries", 0))
    decision = world.decide(world.a_look(changed, config=world.a_config(spec)))
    assert (decision.create, decision.status["phase"]) == ((), "Ready")


def test_gates_that_did_not_change_are_not_decided_again_on_rounded_numbers() -> None:
    """The trainer saw 0.89996, which is stored as 0.9000."""
    measured = world.changed(world.a_report("GateFailed")["measured"], "primary.tuned", "0.9000")
    finetune = world.concluded(world.a_report("GateFailed", measured=measured))
    changed = world.edited(finetune, world.changed(world.SPEC, "limits.retries", 0))
    decision = world.decide(world.a_look(changed, config=world.a_config()))
    assert (decision.create, decision.status["phase"]) == ((), "GateFailed")


def test_numbers_that_were_never_stored_run_again() -> None:
    finetune = world.concluded(world.a_report(measured=None))
    changed = world.edited(finetune, world.changed(world.SPEC, "limits.retries", 0))
    assert world.decide(world.a_look(changed)).status["run"]["number"] == 2


def test_a_report_without_numbers_cannot_be_decided_again() -> None:
    finetune = world.edited(world.started(), _gates(minimum="0.95"))
    status = world.concluded(world.a_report(measured=None), finetune)["status"]
    assert status["run"]["number"] == 2


@pytest.mark.parametrize("data", [None, {"run.json": "{}"}, {"run.json": "not JSON"}])
def test_without_a_readable_config_map_the_gates_count_as_changed(data: world.Object | None) -> None:
    spec = _gates(metric="map@100", minimum="0.1")
    finetune = world.concluded(world.a_report(), world.started(spec), spec=spec)
    changed = world.edited(finetune, world.changed(spec, "limits.retries", 0))
    decision = world.decide(world.a_look(changed, config={**world.a_config(), "data": data}))
    assert world.verdicts(decision.status, "Reconciling") == ["True"]


def test_gates_that_change_while_the_run_goes_on_decide_at_its_end() -> None:
    """The trainer knows only those that it started with."""
    finetune = world.edited(world.started(), _gates(minimum="0.95"))
    status = world.concluded(world.a_report(), finetune)["status"]
    assert (status["phase"], status["artifact"]) == ("GateFailed", world.ARTIFACT)

    finetune = world.edited(world.started(), _gates(minimum="0.80"))
    status = world.concluded(world.a_report("GateFailed"), finetune)["status"]
    assert (status["run"]["number"], status["evaluation"]["run"]) == (2, 1)
    assert world.said(status, "Reconciling") == (
        "True",
        "GatesChanged",
        "Run 1 passes the changed gates, but its model was not kept: it runs again.",
    )


def test_a_failure_is_a_failure_under_any_gates() -> None:
    finetune = world.edited(world.started(), _gates(minimum="0.80"))
    assert world.concluded(world.a_report("Failed"), finetune)["status"]["phase"] == "Failed"


def test_a_gain_is_decided_by_the_lower_end_of_its_interval() -> None:
    for wanted, phase in (("0.90", "Ready"), ("0.901", "GateFailed")):
        finetune = world.edited(world.concluded(world.a_report()), _gates(minimumGain=wanted))
        assert world.decide(world.a_look(finetune)).status["phase"] == phase


def test_a_metric_beside_the_headline_can_be_a_gate() -> None:
    metric = Metric(name="pages_cosine_mrr@10", tuned="0.92", gain_low="0.1").to_dict()
    measured = {**world.MEASURED, "metrics": [metric]}
    finetune = world.concluded(world.a_report(measured=measured))
    for minimum, phase in (("0.92", "Ready"), ("0.93", "GateFailed")):
        changed = world.edited(finetune, _gates(metric="mrr@10", minimum=minimum))
        assert world.decide(world.a_look(changed)).status["phase"] == phase


def test_a_group_can_be_a_gate_and_so_can_a_drop() -> None:
    metric = Metric(name="pages_cosine_ndcg@10[de]", baseline="0.9", tuned="0.92", gain_low="-0.02").to_dict()
    measured = {**world.MEASURED, "metrics": [metric]}
    finetune = world.concluded(world.a_report(measured=measured))
    for drop, phase in (("0.021", "Ready"), ("0.02", "GateFailed")):
        changed = world.edited(finetune, _gates(group="de", maximumDrop=drop))
        status = world.decide(world.a_look(changed)).status
        assert status["phase"] == phase
    said = world.said(status, "GatePassed")
    assert said is not None
    assert "pages ndcg@10 of group 'de': lower end" in said[2]


def test_a_gain_cannot_be_decided_again_without_a_baseline() -> None:
    metric = Metric(name="pages_cosine_mrr@10", tuned="0.92").to_dict()
    finetune = world.concluded(world.a_report(measured={**world.MEASURED, "metrics": [metric]}))
    changed = world.edited(finetune, _gates(metric="mrr@10", minimumGain="0"))
    status = world.decide(world.a_look(changed)).status
    assert status["phase"] == "GateFailed"
    said = world.said(status, "GatePassed")
    assert said is not None
    assert "there is no baseline to gain over" in said[2]


def test_conditions_that_somebody_removed_come_back() -> None:
    for report in (world.a_report(), world.a_report("Failed")):
        finetune = world.concluded(report)
        stripped = {**finetune, "status": {**finetune["status"], "conditions": []}}
        look = world.a_look(stripped, config=world.a_config())
        assert world.decide(look).status["phase"] == finetune["status"]["phase"]
