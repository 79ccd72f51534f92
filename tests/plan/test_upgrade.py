"""What the version before wrote, read by this one: nothing runs again, and only what changed is written.

`former/` holds statuses and objects as that version wrote them; they are never written anew.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from finetune_api.report import Report
from finetune_operator.decisions.observed import PostedReport
from finetune_operator.decisions.pods import works_for
from finetune_operator.decisions.runs import is_settled, stored_status
from tests.plan import world

FORMER = Path(__file__).parent / "former"
SETTLED = ["published", "gate-failed", "failed"]


def _former(name: str) -> world.Object:
    found: world.Object = yaml.safe_load((FORMER / f"{name}.yaml").read_text())
    return found


def _as_made(name: str, status: world.Object | None = None) -> world.Object:
    """An object of the version before, with what the API server adds."""
    thing = _former(name)
    metadata = {**thing["metadata"], "uid": f"uid-of-{name}", "creationTimestamp": world.time(0)}
    return {**thing, "metadata": metadata, "status": status or {}}


def _finetune(state: str, **defaults: Any) -> world.Object:
    """Its spec has what the new CRD adds to it without a new generation."""
    spec = {**world.SPEC, "suspend": False, "rerun": "", **defaults}
    spec["limits"] = {**spec["limits"], "stuckSeconds": 1800, "keepJobSeconds": 604_800}
    return world.a_finetune(spec, status=_former(state))


@pytest.mark.parametrize("state", SETTLED)
def test_what_was_settled_stays_and_is_not_even_written(state: str) -> None:
    finetune = _finetune(state)
    assert is_settled(finetune)
    job = _as_made("job", world.complete(world.a_job())["status"])
    decision = world.decide(world.a_look(finetune, job=job, config=_as_made("config")))
    assert (decision.status, decision.create, decision.delete) == (finetune["status"], (), ())


@pytest.mark.parametrize("state", SETTLED)
def test_the_job_of_a_settled_run_is_removed_in_time(state: str) -> None:
    job = _as_made("job", world.complete(world.a_job())["status"])
    look = world.a_look(_finetune(state), job=job, config=_as_made("config"), now=world.at(604_800 + 600))
    decision = world.decide(look)
    assert [d.kind for d in decision.delete] == ["Job", "ConfigMap"]
    changed = world.edited(
        {**look.finetune, "status": decision.status}, world.changed(world.SPEC, "limits.retries", 0)
    )
    if state != "failed":  # any change tries again after a failure
        assert world.decide(world.a_look(changed)).status["run"]["number"] == 1


def test_a_run_goes_on_with_one_write_that_adds_what_it_has_taken_so_far() -> None:
    finetune, job, config = _finetune("running"), _as_made("job", {"active": 1}), _as_made("config")
    pods = (
        world.a_finished_pod(1, ended=100),
        world.a_running_pod("vdr-1-later", started=120, created=110),
    )
    look = world.a_look(finetune, job=job, config=config, pods=pods)
    decision = world.decide(look)
    assert (decision.create, decision.delete) == ((), ())
    run = decision.status["run"]
    assert (run["number"], run["attempt"], run["retries"], run["pod"]) == (1, 2, 1, "vdr-1-later")
    assert run["activeSeconds"] == 480
    for part in ("phase", "progress"):
        assert decision.status[part] == finetune["status"][part]
    again = world.applied(look, decision)
    assert world.decide(again).status == decision.status


@pytest.mark.parametrize(
    ("pods", "phase"),
    [((), "Starting"), ((world.a_pod(),), "Starting"), ((world.a_running_pod(),), "Starting")],
    ids=["no pod yet", "a pod", "a running pod"],
)
def test_a_job_of_the_version_before_is_followed(pods: tuple[world.Object, ...], phase: str) -> None:
    job, config = _as_made("job", {"active": len(pods)}), _as_made("config")
    decision = world.decide(world.a_look(_finetune("starting"), job=job, config=config, pods=pods))
    assert (decision.create, decision.delete, decision.status["phase"]) == ((), (), phase)


def test_a_job_of_the_version_before_is_adopted_and_concluded() -> None:
    ended = world.complete(_as_made("job"))
    adopted = world.decide(world.a_look(world.a_finetune(), job=_as_made("job"), config=_as_made("config")))
    assert adopted.create == ()
    pods = (world.a_finished_pod(message=json.dumps(world.a_report())),)
    look = world.a_look(_finetune("starting"), job=ended, config=_as_made("config"), pods=pods)
    assert world.decide(look).status["phase"] == "Ready"


@pytest.mark.parametrize("state", ["starting", "running", *SETTLED])
def test_a_change_that_decides_nothing_starts_no_run(state: str) -> None:
    finetune = _finetune(state)
    changed = world.edited(finetune, world.changed(finetune["spec"], "output.keep", 9))
    decision = world.decide(
        world.a_look(changed, job=_as_made("job"), config=_as_made("config"), pods=(world.a_running_pod(),))
    )
    assert decision.status["run"]["number"] == (2 if state == "failed" else 1)


@pytest.mark.parametrize(
    "path",
    [
        {"suspend": False},
        {"rerun": ""},
        {"runtime": {"terminationGracePeriodSeconds": 300}},
        {"training": {"seed": 42}, "loss": {"args": {}}},
    ],
    ids=str,
)
def test_a_field_that_has_its_default_leaves_the_hash_as_it_was(path: dict[str, Any]) -> None:
    assert world.hash_of({**world.SPEC, **path}) == _former("published")["run"]["specHash"]


@pytest.mark.parametrize("state", ["starting", "running", *SETTLED])
def test_every_part_of_a_former_status_is_understood(state: str) -> None:
    status = _former(state)
    kept = stored_status({"status": status}).to_dict()
    status["run"] = {k: v for k, v in status["run"].items() if v != 0}
    assert kept == status


def test_a_pod_of_the_version_before_is_one_of_its_finetune() -> None:
    assert works_for({"metadata": _former("job")["spec"]["template"]["metadata"]}, world.UID)


LEFT = [{**world.OWNER, "uid": "uid-of-the-finetune-before"}]
LEFTOVERS: dict[str, dict[str, Any]] = {
    "its Job runs": {"job": world.a_job(ownerReferences=LEFT)},
    "its Job goes": {"job": world.a_job(ownerReferences=LEFT, deletionTimestamp=world.time(1))},
    "its Job is complete": {"job": world.complete(world.a_job(ownerReferences=LEFT))},
    "its Job has failed": {"job": world.failed(world.a_job(ownerReferences=LEFT))},
    "its pod still works": {"pods_of_others": (world.a_running_pod(),)},
    "its ConfigMap is there": {"config": {**world.a_config(), **world.a_job(ownerReferences=LEFT)}},
}  # fmt: skip


@pytest.mark.parametrize("suspended", [False, True])
@pytest.mark.parametrize("left", LEFTOVERS)
def test_a_finetune_made_anew_under_a_name_takes_nothing_over(left: str, *, suspended: bool) -> None:
    finetune = world.a_finetune({**world.SPEC, "suspend": suspended}, uid="uid-of-the-new-one")
    posted = PostedReport(Report.model_validate(world.a_report()), "uid-of-vdr-1-abcde")
    look = world.a_look(finetune, report=posted, **LEFTOVERS[left])
    decision = world.decide(look)
    assert (decision.create, decision.delete) == ((), ())
    for part in ("evaluation", "artifact", "failure", "history"):
        assert part not in decision.status
    assert not (decision.status.get("run") or {}).get("attempt")
    freed = world.a_look({**finetune, "status": decision.status})
    made = world.all_objects(world.decide(freed).create)
    assert made == ([] if suspended else ["ConfigMap/vdr-1", "Job/vdr-1"])
