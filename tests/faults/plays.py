"""What people do with a finetune: scenarios that come to the same end whatever happens to the operator."""

from pathlib import Path
from typing import Any

from tests.faults.lanes import Lane, Scenario
from tests.operator.conftest import Finetunes

PATIENCE_SECONDS = 100.0
# A trainer that is told to stop while its interpreter starts does not hear it.
GRACE: dict[str, Any] = {"runtime_terminationGracePeriodSeconds": 2}


def publishes(lane: Lane) -> None:
    """Trains, passes its gate and publishes."""
    apply_one_that_publishes(lane.finetunes)
    await_end(lane.finetunes, "Ready")


def apply_one_that_publishes(finetunes: Finetunes) -> None:
    finetunes.make_claim("models")
    finetunes.apply("succeed", output_uri="pvc://models/one", **GRACE)


def succeeds(lane: Lane) -> None:
    """With nothing to publish to."""
    lane.finetunes.apply("succeed", **GRACE)
    await_end(lane.finetunes, "Ready")


def goes_on_when_told(lane: Lane) -> None:
    """Trains until it is told, then publishes."""
    folder = begin_one_that_waits(lane.finetunes)
    (folder / "go").touch()
    await_end(lane.finetunes, "Ready")


def begin_one_that_waits(finetunes: Finetunes) -> Path:
    """Trains until there is a file `go` in the folder."""
    folder = finetunes.make_claim("models")
    finetunes.apply("wait_for_a_file", output_uri="pvc://models/one", **GRACE)
    await_training(finetunes)
    return folder


def misses_its_gate(lane: Lane) -> None:
    lane.finetunes.apply("fail_the_gate")
    await_end(lane.finetunes, "GateFailed")


def finds_bad_data(lane: Lane) -> None:
    lane.finetunes.apply("find_bad_data")
    await_end(lane.finetunes, "Failed")


def gets_another_spec(lane: Lane) -> None:
    """While it trains; the new one succeeds."""
    lane.finetunes.apply("hold", **GRACE)
    await_training(lane.finetunes)
    patch_spec(lane.finetunes, {"training": {"args": {"play": "succeed"}}})
    await_end(lane.finetunes, "Ready", run=2)


def is_evicted(lane: Lane) -> None:
    """Its pod, while it trains; the next one succeeds."""
    finetunes = lane.finetunes
    folder = begin_one_that_waits(finetunes)
    (pod,) = finetunes.children("pods")
    evict(finetunes, pod["metadata"]["name"])
    await_another(finetunes, "pods", pod)
    (folder / "go").touch()
    await_end(finetunes, "Ready")


def is_suspended_and_resumed(lane: Lane) -> None:
    """While it trains; after it was resumed it succeeds."""
    finetunes = lane.finetunes
    folder = begin_one_that_waits(finetunes)
    patch_spec(finetunes, {"suspend": True})
    finetunes.await_condition("Suspended", "True", seconds=PATIENCE_SECONDS)
    finetunes.await_that(lambda: not finetunes.children("jobs"), "its Job is gone", seconds=PATIENCE_SECONDS)
    (folder / "go").touch()
    patch_spec(finetunes, {"suspend": False})
    await_end(finetunes, "Ready")


OF_ONE_ATTEMPT: tuple[Scenario, ...] = (publishes, misses_its_gate, finds_bad_data)
EVERY_SCENARIO: tuple[Scenario, ...] = (
    *OF_ONE_ATTEMPT,
    gets_another_spec,
    is_evicted,
    is_suspended_and_resumed,
)


def await_training(finetunes: Finetunes) -> None:
    """A pod that status knows of: one that the operator never saw is no attempt, and its run none."""

    def is_known() -> bool:
        pods = {pod["metadata"]["name"] for pod in running_pods(finetunes)}
        return (finetunes.status().get("run") or {}).get("pod") in pods

    finetunes.await_that(is_known, "a running pod in status", seconds=PATIENCE_SECONDS)


def running_pods(finetunes: Finetunes) -> list[dict[str, Any]]:
    return [pod for pod in finetunes.children("pods") if pod["status"].get("phase") == "Running"]


def phase(finetunes: Finetunes) -> str:
    return str(finetunes.status().get("phase"))


def await_another(finetunes: Finetunes, kind: str, former: dict[str, Any]) -> None:
    """In the place of that Job or pod, which is gone."""

    def is_another() -> bool:
        uids = {thing["metadata"]["uid"] for thing in finetunes.children(kind)}
        return bool(uids) and former["metadata"]["uid"] not in uids

    finetunes.await_that(is_another, f"others of {kind}", seconds=PATIENCE_SECONDS)


def delete_job(finetunes: Finetunes, name: str) -> None:
    """As `kubectl delete job` does it."""
    path = f"/apis/batch/v1/namespaces/{finetunes.namespace}/jobs/{name}"
    finetunes.client.delete(path, {"propagationPolicy": "Background"})


def delete_config(finetunes: Finetunes, name: str) -> None:
    finetunes.client.delete(f"/api/v1/namespaces/{finetunes.namespace}/configmaps/{name}")


def await_end(finetunes: Finetunes, phase: str, *, run: int = 1) -> None:
    """Of the present generation."""

    def is_there() -> bool:
        found = finetunes.get()
        status = found["status"]
        seen = status.get("observedGeneration") == found["metadata"]["generation"]
        return bool(seen and status.get("phase") == phase and status["run"]["number"] == run)

    try:
        finetunes.await_that(is_there, phase, seconds=PATIENCE_SECONDS)
    except TimeoutError:
        raise AssertionError(f"not {phase} within {PATIENCE_SECONDS:g} s: {finetunes.status()}") from None


def patch_spec(finetunes: Finetunes, changes: dict[str, Any]) -> dict[str, Any]:
    """The finetune as it is then."""
    return finetunes.client.patch(f"{finetunes.path}/one", {"spec": changes})


def evict(finetunes: Finetunes, pod: str) -> None:
    """As a node that is drained does it."""
    path = f"/api/v1/namespaces/{finetunes.namespace}/pods/{pod}/eviction"
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
    finetunes.client.create(path, body)
