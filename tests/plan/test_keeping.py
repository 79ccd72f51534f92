"""What stays of a run that is over: its Job for a while, its numbers for good."""

import pytest

from finetune_operator.decisions.plan import Plan
from finetune_operator.decisions.runs import next_look
from tests.plan import world

WEEK = 604_800
ENDED = 600
UNSTORED = world.changed(
    world.SPEC, "evaluation.gates", [{"evaluator": "pages", "metric": "map@100", "minimum": "0.1"}]
)


def _decide(finetune: world.Object, seconds: float, spec: world.Object = world.SPEC) -> Plan:
    job = world.complete(world.a_job(spec=spec))
    return world.decide(
        world.a_look(finetune, job=job, config=world.a_config(spec), now=world.at(ENDED + seconds))
    )


def _removed(finetune: world.Object, spec: world.Object = world.SPEC) -> world.Object:
    """The finetune after its Job and ConfigMap were removed."""
    return {**finetune, "status": _decide(finetune, WEEK, spec).status}


@pytest.mark.parametrize("outcome", ["Succeeded", "GateFailed", "Failed"])
def test_a_job_is_removed_a_week_after_its_end_and_the_numbers_stay(outcome: str) -> None:
    finetune = world.concluded(world.a_report(outcome))
    before = _decide(finetune, WEEK - 1)
    assert (before.delete, before.status, before.requeue_after_seconds) == ((), finetune["status"], 1.0)
    after = _decide(finetune, WEEK)
    assert [(d.kind, d.name) for d in after.delete] == [("Job", "vdr-1"), ("ConfigMap", "vdr-1")]
    assert after.status["run"].pop("jobRemoved") is True
    assert after.status["run"].pop("gatesHash")
    assert (after.status, after.requeue_after_seconds) == (finetune["status"], None)


def test_a_settled_finetune_costs_nothing_once_its_job_is_removed() -> None:
    finetune = _removed(world.concluded(world.a_report()))
    assert next_look(finetune, world.at(0)) is None
    decision = world.decide(world.a_look(finetune, now=world.at(10 * WEEK)))
    assert (decision.status, decision.delete, decision.requeue_after_seconds) == (
        finetune["status"],
        (),
        None,
    )


def test_a_job_that_is_not_to_be_kept_goes_right_after_the_end_is_stored() -> None:
    spec = world.changed(world.SPEC, "limits.keepJobSeconds", 0)
    finetune = world.concluded(world.a_report(), world.started(spec), spec=spec)
    assert "jobRemoved" not in finetune["status"]["run"]
    assert next_look(finetune, world.at(ENDED)) == 0
    assert len(_decide(finetune, 0, spec).delete) == 2


def test_the_end_of_a_run_says_when_to_look_again() -> None:
    look = world.a_look(world.started(), job=world.failed(world.a_job()), now=world.at(ENDED + 100))
    assert world.decide(look).requeue_after_seconds == WEEK - 100


def test_what_is_not_ours_is_never_removed() -> None:
    finetune = world.concluded(world.a_report())
    theirs = world.complete(world.a_job(ownerReferences=[]))
    decision = world.decide(world.a_look(finetune, job=theirs, now=world.at(2 * WEEK)))
    assert decision.delete == ()


@pytest.mark.parametrize("state", ["running", "being deleted", "refused before its first run"])
def test_only_a_run_that_is_over_loses_its_job(state: str) -> None:
    finetunes = {
        "running": world.started(),
        "being deleted": world.concluded(world.a_report()) | {"metadata": {
            **world.a_finetune()["metadata"], "deletionTimestamp": world.time(700),
        }},
        "refused before its first run": world.a_finetune(
            status=world.decide(
                world.a_look(world.a_finetune(world.changed(world.SPEC, "training", {"epochs": "-1"})))
            ).status
        ),
    }  # fmt: skip
    assert next_look(finetunes[state], world.at(2 * WEEK)) is None


def test_a_spec_that_became_invalid_does_not_keep_the_job_of_the_run_before() -> None:
    finetune = world.edited(
        world.concluded(world.a_report()), world.changed(world.SPEC, "limits", {"keepJobSeconds": "week"})
    )
    finetune["status"] = world.decide(world.a_look(finetune)).status
    assert world.verdicts(finetune["status"], "Stalled") == ["True"]
    assert next_look(finetune, world.at(ENDED)) == WEEK


def test_a_change_that_decides_nothing_re_runs_nothing_after_the_removal() -> None:
    """Also where the verdict of the trainer rests on a number that is not stored."""
    finetune = world.concluded(world.a_report(), world.started(UNSTORED), spec=UNSTORED)
    changed = world.edited(_removed(finetune, UNSTORED), world.changed(UNSTORED, "limits.retries", 0))
    decision = world.decide(world.a_look(changed))
    assert (decision.create, decision.status["phase"]) == ((), "Ready")
    assert decision.status["observedGeneration"] == 2


def test_gates_that_changed_after_the_removal_are_decided_from_the_stored_numbers() -> None:
    finetune = _removed(world.concluded(world.a_report()))
    gate = {"evaluator": "pages", "metric": "ndcg@10", "minimum": "0.95"}
    changed = world.edited(finetune, world.changed(world.SPEC, "evaluation.gates", [gate]))
    decision = world.decide(world.a_look(changed))
    assert (decision.create, decision.status["phase"]) == ((), "GateFailed")
    back = world.edited({**changed, "status": decision.status}, world.SPEC)
    assert world.decide(world.a_look(back)).status["phase"] == "Ready"


def test_another_spec_starts_the_next_run_after_the_removal() -> None:
    finetune = _removed(world.concluded(world.a_report()))
    changed = world.edited(finetune, world.changed(world.SPEC, "rerun", "again"))
    look = world.a_look(changed)
    look = world.applied(look, world.decide(look))
    decision = world.decide(look)
    assert world.all_objects(decision.create) == ["ConfigMap/vdr-2", "Job/vdr-2"]
    assert "jobRemoved" not in decision.status["run"]
