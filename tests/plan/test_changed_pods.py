"""What the spec says of its pod changes in the middle of a run: it holds from the next attempt."""

from typing import Any

import pytest

from finetune_api.spec import FinetuneSpec
from finetune_operator.decisions.pod_template import pod_hash
from tests.plan import world

BEFORE = world.changed(world.SPEC, "runtime", {"pod": {"nodeSelector": {"gpu": "h1000"}}})
AFTER = world.changed(world.SPEC, "runtime", {"pod": {"nodeSelector": {"gpu": "h100"}}})


def _hash(spec: world.Object) -> str:
    return pod_hash(FinetuneSpec.model_validate(spec))


def _job(**status: Any) -> world.Object:
    job = world.a_job(spec=BEFORE, status=status)
    job["metadata"]["annotations"]["embeddings.dev/pod-hash"] = _hash(BEFORE)
    return job


def _decide(spec: world.Object, job: world.Object | None, **parts: Any) -> Any:
    status = parts.pop("status", world.started(spec=BEFORE)["status"])
    finetune = world.a_finetune(spec, generation=2, status=status)
    return world.decide(world.a_look(finetune, **{"job": job, "config": world.a_config(), **parts}))


NOBODY_RUNS = {
    "no pod yet": (),
    "a pod that finds no node": (world.an_unschedulable_pod("0/3 nodes are available"),),
    "a pod whose image is not there": (world.a_waiting_pod("ImagePullBackOff"),),
    "an attempt that failed": (world.a_finished_pod(1),),
}


@pytest.mark.parametrize("pods", NOBODY_RUNS.values(), ids=NOBODY_RUNS)
def test_a_job_of_which_no_pod_runs_is_made_again(pods: tuple[world.Object, ...]) -> None:
    decision = _decide(AFTER, _job(), pods=pods)
    assert [d.name for d in decision.delete] == ["vdr-1"]
    said = world.said(decision.status, "Reconciling")
    assert said is not None
    assert said[:2] == ("True", "SettingsChanged")
    assert decision.status["run"]["number"] == 1, "it is the same run"


def test_a_job_that_a_queue_holds_back_goes_to_the_other_queue() -> None:
    job = _job()
    job["spec"] = {"suspend": True}
    spec = world.changed(world.SPEC, "runtime", {"queueName": "other"})
    assert [d.name for d in _decide(spec, job).delete] == ["vdr-1"]


def test_a_pod_that_runs_goes_on_as_it_was_made() -> None:
    assert _decide(AFTER, _job(), pods=(world.a_running_pod(),)).delete == ()


def test_a_job_whose_last_pod_has_ended_well_is_not_made_again() -> None:
    assert _decide(AFTER, _job(), pods=(world.a_finished_pod(0),)).delete == ()


def test_a_job_that_is_over_is_not_made_again() -> None:
    assert _decide(AFTER, world.complete(_job()), pods=(world.a_finished_pod(0),)).delete == ()


def test_its_successor_comes_when_it_is_gone_and_the_run_starts_as_any_other() -> None:
    first = _decide(AFTER, _job()).status
    going = _job()
    going["metadata"]["deletionTimestamp"] = world.time(601)
    waiting = _decide(AFTER, going, status=first)
    assert (waiting.delete, waiting.create) == ((), ())
    decision = _decide(AFTER, None, config=None, status=waiting.status)
    (job,) = (thing for thing in decision.create if thing["kind"] == "Job")
    assert job["metadata"]["annotations"]["embeddings.dev/pod-hash"] == _hash(AFTER)
    assert world.said(decision.status, "Reconciling") == (
        "True", "Starting", "Job vdr-1 was made; its pod comes up.",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("path", "value"),
    [("limits.retries", 5), ("suspend", False), ("evaluation.gates", []), ("runtime.gpusPerNode", 1)],
)
def test_what_is_not_said_of_the_pod_leaves_the_job_alone(path: str, value: Any) -> None:
    assert _hash(world.changed(BEFORE, path, value)) == _hash(BEFORE)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("runtime.resources", {"limits": {"memory": "8Gi"}}),
        ("runtime.queueName", "other"),
        ("runtime.serviceAccountName", "reader"),
        ("runtime.checkpoints", {"claim": "scratch"}),
        ("output", {"uri": "s3://models/a", "secretRef": {"name": "other"}}),
    ],
)
def test_what_is_said_of_the_pod_counts(path: str, value: Any) -> None:
    assert _hash(world.changed(BEFORE, path, value)) != _hash(BEFORE)


def test_the_hash_of_a_spec_stays_over_upgrades() -> None:
    """Another one would make every queued Job anew, at the end of its queue."""
    assert (_hash(world.SPEC), _hash(BEFORE)) == ("5dd0a44b57f12ea1", "5c48b046f4ea7e70")


def test_a_job_of_before_there_was_a_hash_is_left_alone() -> None:
    assert _decide(AFTER, world.a_job(spec=BEFORE)).delete == ()
