"""The runs before the present one: what each came to, in ten entries at most."""

from typing import Any

import pytest

from tests.plan import world

OTHER = world.changed(world.SPEC, "rerun", "again")


def _next(finetune: world.Object, spec: world.Object = OTHER, **parts: Any) -> world.Object:
    """The finetune after a look at its changed spec."""
    changed = world.edited(finetune, spec)
    return {**changed, "status": world.decide(world.a_look(changed, **parts)).status}


def _running() -> world.Object:
    finetune = world.started()
    look = world.a_look(finetune, job=world.a_job(), config=world.a_config(), pods=(world.a_running_pod(),))
    return {**finetune, "status": world.decide(look).status}


def test_a_published_run_goes_into_history_with_its_headline_and_its_model() -> None:
    assert _next(world.concluded(world.a_report()))["status"]["history"] == [
        {
            "number": 1,
            "specHash": world.hash_of(world.SPEC),
            "outcome": "Published",
            "reason": "Published",
            "message": "All gates hold: pages ndcg@10: found 0.940, wanted at least 0.90.",
            "primary": {
                "name": "pages_cosine_ndcg@10", "comparedTo": "Base", "baseline": "0.016", "tuned": "0.940",
                "gain": "0.924", "gainLow": "0.901", "gainHigh": "0.944",
            },
            "artifact": world.ARTIFACT["uri"],
            "attempts": 1,
            "startTime": world.time(0),
            "completionTime": world.time(600),
        }
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("report", "spec", "outcome", "reason"),
    [
        (world.a_report("GateFailed"), world.SPEC, "GateFailed", "GateNotPassed"),
        (world.a_report("Failed"), world.SPEC, "Failed", "ColumnMissing"),
        (world.a_report(artifact=None), world.changed(world.SPEC, "output", None), "Measured", "Measured"),
    ],
    ids=["gate", "failure", "no output"],
)
def test_every_end_has_a_word(report: world.Object, spec: world.Object, outcome: str, reason: str) -> None:
    finetune = world.concluded(report, world.started(spec), spec=spec)
    (past,) = _next(finetune, world.changed(spec, "rerun", "again"))["status"]["history"]
    assert (past["outcome"], past["reason"], "artifact" in past) == (outcome, reason, False)
    assert past["message"]


def test_a_run_that_gave_way_before_its_end_was_superseded() -> None:
    pods = (world.a_running_pod(),)
    finetune = _next(_running(), job=world.a_job(), config=world.a_config(), pods=pods)
    (past,) = finetune["status"]["history"]
    assert (past["outcome"], past["reason"], past["completionTime"]) == (
        "Superseded", "SpecChanged", world.time(600),
    )  # fmt: skip
    assert (past["attempts"], past["activeSeconds"]) == (1, 590)


def test_a_run_that_never_had_a_job_is_none() -> None:
    finetune = _next(_next(world.concluded(world.a_report())), world.changed(OTHER, "rerun", "and again"))
    assert finetune["status"]["run"]["number"] == 2
    assert [past["number"] for past in finetune["status"]["history"]] == [1]


def test_the_newest_ten_are_kept_newest_first() -> None:
    finetune = world.concluded(world.a_report())
    for number in range(2, 14):
        finetune = _next(finetune, world.changed(world.SPEC, "rerun", str(number)))
        look = world.a_look(finetune)
        finetune = {**finetune, "status": world.decide(look).status}
        finetune = world.concluded(world.a_report(run=number), finetune, spec=finetune["spec"])
    assert [past["number"] for past in finetune["status"]["history"]] == list(range(12, 2, -1))


def test_a_run_whose_gates_changed_is_told_with_its_own_numbers() -> None:
    gate = {"evaluator": "pages", "metric": "map@100", "minimum": "0.1"}
    finetune = _next(world.concluded(world.a_report()), world.changed(world.SPEC, "evaluation.gates", [gate]))
    (past,) = finetune["status"]["history"]
    assert (past["outcome"], past["primary"]["tuned"]) == ("Published", "0.940")


def test_a_run_is_told_as_it_ended_although_a_spec_was_refused_since() -> None:
    finetune = _next(
        world.concluded(world.a_report("Failed")), world.changed(world.SPEC, "training.epochs", "-1")
    )
    assert world.verdicts(finetune["status"], "Stalled") == ["True"]
    (past,) = _next(finetune)["status"]["history"]
    assert (past["outcome"], past["reason"]) == ("Failed", "ColumnMissing")


def test_the_same_spec_runs_again_on_another_word_in_rerun() -> None:
    finetune = _next(world.concluded(world.a_report()))
    decision = world.decide(world.a_look(finetune))
    assert world.all_objects(decision.create) == ["ConfigMap/vdr-2", "Job/vdr-2"]
    back = _next({**finetune, "status": decision.status}, world.SPEC)
    assert back["status"]["run"]["number"] == 3


def test_history_goes_on_while_a_run_goes_on_and_ends() -> None:
    finetune = _next(world.concluded(world.a_report()))
    finetune = {**finetune, "status": world.decide(world.a_look(finetune)).status}
    assert len(finetune["status"]["history"]) == 1
    finetune = world.concluded(world.a_report(run=2), finetune, spec=OTHER)
    assert len(finetune["status"]["history"]) == 1
