"""Runs that pause, go on, repeat and are cleared away, on a real API server with a trainer that plays."""

from pathlib import Path
from typing import Any

import pytest

from tests.operator.conftest import Finetunes
from tests.operator.process import Operator

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]  # programs may have to be built first


def test_an_eviction_and_a_suspension_lose_no_step_and_no_retry(
    operator: Operator, finetunes: Finetunes
) -> None:
    folder = _apply_with_checkpoints(finetunes, limits_retries=0)
    first = _await_steps(finetunes, 1)
    _evict(finetunes)
    second = _await_steps(finetunes, first + 1, attempt=2)
    _patch(finetunes, {"suspend": True})
    suspended = finetunes.await_condition("Suspended", "True")
    assert finetunes.children("jobs") == finetunes.children("pods") == []
    status = finetunes.status()
    step = status["run"]["checkpointStep"]
    assert step >= second
    assert (
        suspended["message"]
        == f"Once spec.suspend is false, run 1 goes on from the checkpoint of step {step}."
    )
    assert (status["phase"], finetunes.condition("Ready")["reason"]) == ("Suspended", "Suspended")
    _patch(finetunes, {"suspend": False})
    _await_steps(finetunes, step + 1, attempt=3)
    (folder / "go").touch()
    finetunes.await_condition("Ready", "True")
    run = finetunes.status()["run"]
    assert (run["number"], run["attempt"], run["interruptions"], run.get("retries", 0)) == (1, 3, 2, 0)
    assert (run.get("lostSteps", 0), run.get("vainInterruptions", 0)) == (0, 0)
    events = finetunes.events()
    assert ("Normal", "Suspended") in events
    assert ("Normal", "Resumed") in events


def test_a_queue_takes_the_job_back_and_lets_it_go_on(operator: Operator, finetunes: Finetunes) -> None:
    folder = _apply_with_checkpoints(finetunes, runtime_queueName="team-a")
    _await_steps(finetunes, 1)
    job = f"/apis/batch/v1/namespaces/{finetunes.namespace}/jobs/one-1"
    finetunes.client.patch(job, {"spec": {"suspend": True}})
    held = finetunes.await_condition("Reconciling", "True", "Queued")
    assert "Queue team-a" in held["message"]
    finetunes.await_that(lambda: not finetunes.children("pods"), "its pod has ended")
    finetunes.client.patch(job, {"spec": {"suspend": False}})
    _await_steps(finetunes, 2, attempt=2)
    (folder / "go").touch()
    finetunes.await_condition("Ready", "True")
    run = finetunes.status()["run"]
    assert (run["interruptions"], run.get("retries", 0), run.get("lostSteps", 0)) == (1, 0, 0)


def test_a_finished_job_is_cleared_away_and_the_same_spec_runs_again_on_demand(
    operator: Operator, finetunes: Finetunes
) -> None:
    finetunes.make_claim("models")
    finetunes.apply("succeed", output_uri="pvc://models/one", limits_keepJobSeconds=0)
    finetunes.await_that(lambda: finetunes.status().get("run", {}).get("jobRemoved"), "its Job is removed")
    assert finetunes.condition("Ready")["status"] == "True"
    finetunes.await_that(
        lambda: not any(finetunes.children(kind) for kind in ("jobs", "pods", "configmaps")), "all is gone"
    )
    first = finetunes.status()
    _patch(finetunes, {"rerun": "again"})
    finetunes.await_that(lambda: finetunes.status()["run"]["number"] == 2, "the next run")
    finetunes.await_condition("Ready", "True")
    (past,) = finetunes.status()["history"]
    assert (past["number"], past["outcome"], past["artifact"]) == (1, "Published", first["artifact"]["uri"])
    assert finetunes.status()["artifact"]["run"] == 2


def test_a_run_that_takes_too_long_is_ended(operator: Operator, finetunes: Finetunes) -> None:
    finetunes.apply("hold", limits_activeSeconds=60)
    finetunes.await_that(lambda: finetunes.status().get("progress"), "progress")
    finetunes.client.patch(f"{finetunes.path}/one/status", {"status": {"run": {"activeSeconds": 59}}})
    finetunes.await_condition("Stalled", "True", "DeadlineExceeded")
    finetunes.await_that(lambda: not finetunes.children("jobs"), "its Job is gone")
    assert finetunes.status()["run"]["activeSeconds"] >= 60


def test_a_report_that_was_lost_with_its_pod_is_made_up_for(operator: Operator, finetunes: Finetunes) -> None:
    folder = finetunes.make_claim("models")
    finetunes.apply("wait_for_a_file", output_uri="pvc://models/one")
    finetunes.await_that(lambda: finetunes.status().get("progress"), "progress")
    operator.kill()
    (folder / "go").touch()
    job = f"/apis/batch/v1/namespaces/{finetunes.namespace}/jobs/one-1"
    finetunes.await_that(lambda: _is_complete(finetunes.client.get(job)), "the Job is complete")
    for pod in finetunes.children("pods"):
        finetunes.client.delete(f"/api/v1/namespaces/{finetunes.namespace}/pods/{pod['metadata']['name']}")
    finetunes.await_that(lambda: not finetunes.children("pods"), "its pod is gone")
    operator.start()
    finetunes.await_condition("Ready", "True")
    run = finetunes.status()["run"]
    assert (run["number"], run["attempt"], run["reportLost"], run.get("retries", 0)) == (1, 2, True, 0)


def _apply_with_checkpoints(finetunes: Finetunes, **changes: Any) -> Path:
    """Returns the folder in which the checkpoints lie."""
    folder = finetunes.make_claim("scratch")
    finetunes.apply("checkpoint", runtime_checkpoints={"claim": "scratch"}, **changes)
    return folder


def _await_steps(finetunes: Finetunes, steps: int, *, attempt: int = 1) -> int:
    """Wait until that attempt has come so far. Returns the step that it is at."""

    def probe() -> int | None:
        status = finetunes.status()
        step, at = (status.get("progress") or {}).get("step", 0), (status.get("run") or {}).get("attempt")
        return step if step >= steps and at == attempt else None

    return int(finetunes.await_that(probe, f"step {steps} of attempt {attempt}"))


def _patch(finetunes: Finetunes, spec: dict[str, Any]) -> None:
    finetunes.client.patch(f"{finetunes.path}/one", {"spec": spec})


def _evict(finetunes: Finetunes) -> None:
    (pod,) = finetunes.children("pods")
    name = pod["metadata"]["name"]
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    finetunes.client.create(f"/api/v1/namespaces/{finetunes.namespace}/pods/{name}/eviction", eviction)


def _is_complete(job: dict[str, Any] | None) -> bool:
    conditions = ((job or {}).get("status") or {}).get("conditions") or []
    return any(c["type"] == "Complete" and c["status"] == "True" for c in conditions)
