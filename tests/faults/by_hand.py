"""People do things to a finetune and to what belongs to the operator."""

from collections.abc import Callable

from tests.faults import plays
from tests.faults.laboratory import Experiment, Laboratory, Lives
from tests.faults.lanes import Lane, Scenario
from tests.operator.conftest import Finetunes

QUICK_EDITS = 100
MOST_HISTORY = 10


def in_the_middle(act: Callable[[Finetunes], None]) -> Scenario:
    """Trains, has that done to it, trains on and publishes."""

    def scenario(lane: Lane) -> None:
        folder = plays.begin_one_that_waits(lane.finetunes)
        act(lane.finetunes)
        (folder / "go").touch()
        plays.await_end(lane.finetunes, "Ready")

    scenario.__name__ = act.__name__
    return scenario


def its_job_is_deleted(finetunes: Finetunes) -> None:
    (job,) = finetunes.children("jobs")
    plays.delete_job(finetunes, "one-1")
    plays.await_another(finetunes, "jobs", job)


def its_pod_is_deleted(finetunes: Finetunes) -> None:
    (pod,) = finetunes.children("pods")
    finetunes.client.delete(f"/api/v1/namespaces/{finetunes.namespace}/pods/{pod['metadata']['name']}")
    plays.await_another(finetunes, "pods", pod)


def its_config_is_deleted(finetunes: Finetunes) -> None:
    """Of which nobody tells; its next pod needs it."""
    plays.delete_config(finetunes, "one-1")
    its_pod_is_deleted(finetunes)
    finetunes.await_that(lambda: plays.running_pods(finetunes), "a running pod", seconds=60)


def its_job_is_edited(finetunes: Finetunes) -> None:
    """Where an API server lets one: metadata, parallelism, and a stop and a start."""
    path = f"/apis/batch/v1/namespaces/{finetunes.namespace}/jobs/one-1"
    (pod,) = finetunes.children("pods")
    finetunes.client.patch(path, {"metadata": {"annotations": {"example.com/note": "mine"}}})
    finetunes.client.patch(path, {"spec": {"suspend": True}})
    finetunes.await_that(lambda: not plays.running_pods(finetunes), "no pod", seconds=60)
    finetunes.client.patch(path, {"spec": {"suspend": False, "ttlSecondsAfterFinished": 60}})
    plays.await_another(finetunes, "pods", pod)


def its_status_is_emptied(finetunes: Finetunes) -> None:
    found = finetunes.get()
    finetunes.client.put(f"{finetunes.path}/one/status", {**found, "status": {}})


def gets_a_hundred_specs(lane: Lane) -> None:
    """As quickly as they can be sent, the last one succeeds."""
    finetunes = lane.finetunes
    finetunes.apply("hold", **plays.GRACE)
    for number in range(1, QUICK_EDITS + 1):
        play = "succeed" if number == QUICK_EDITS else "hold"
        edited = plays.patch_spec(finetunes, {"training": {"seed": number, "args": {"play": play}}})
        if number % 10 == 0:
            _await_seen(finetunes, edited["metadata"]["generation"])
    finetunes.await_that(lambda: _is_over(finetunes), "its last spec has run", seconds=plays.PATIENCE_SECONDS)
    status = finetunes.status()
    assert status["phase"] == "Ready", status
    assert len(status.get("history", [])) <= MOST_HISTORY, "history grows without end"
    lane.notes.append(f"{QUICK_EDITS} edits made {status['run']['number']} runs")


def _await_seen(finetunes: Finetunes, generation: int) -> None:
    finetunes.await_that(
        lambda: finetunes.status()["observedGeneration"] >= generation, "it was seen", seconds=60
    )


def _is_over(finetunes: Finetunes) -> bool:
    found = finetunes.get()
    is_seen = found["status"].get("observedGeneration") == found["metadata"]["generation"]
    return bool(is_seen and found["status"].get("phase") in {"Ready", "Failed"})


def recreated(play: str, when: Callable[[Finetunes], object], what: str) -> Scenario:
    """Deleted at that time, and made anew under the same name at once: the new one succeeds."""

    def scenario(lane: Lane) -> None:
        finetunes = lane.finetunes
        former = finetunes.apply(play, **plays.GRACE)
        finetunes.await_that(lambda: when(finetunes), what, seconds=plays.PATIENCE_SECONDS)
        finetunes.delete()
        finetunes.apply("succeed", **plays.GRACE)
        plays.await_end(finetunes, "Ready")
        assert finetunes.get()["metadata"]["uid"] != former["metadata"]["uid"]
        (job,) = finetunes.children("jobs")
        (owner,) = job["metadata"]["ownerReferences"]
        assert owner["uid"] == finetunes.get()["metadata"]["uid"]

    scenario.__name__ = f"is_recreated_when_{what.replace(' ', '_')}"
    return scenario


RECREATED = (
    recreated("hold", lambda _: True, "just made"),
    recreated("hold", lambda f: f.children("jobs"), "its Job is there"),
    recreated("hold", lambda f: f.children("pods"), "its pod is there"),
    recreated("hold", plays.running_pods, "its pod runs"),
    recreated("hold", lambda f: f.status().get("progress"), "it trains"),
    recreated("succeed", lambda f: f.status().get("phase") == "Ready", "it is ready"),
    recreated("find_bad_data", lambda f: f.status().get("phase") == "Failed", "it has failed"),
)


def its_namespace_is_deleted(lane: Lane) -> None:
    """While it trains; everything goes, and the operator has nothing to complain about."""
    lane.finetunes.apply("hold", **plays.GRACE)
    plays.await_training(lane.finetunes)
    path = f"/api/v1/namespaces/{lane.namespace}"
    lane.finetunes.client.delete(path)
    lane.finetunes.await_that(lambda: lane.finetunes.client.get(path) is None, "it is gone", seconds=90)


def _by_hand(*scenarios: Scenario, like: Scenario | None) -> Callable[[Laboratory], Lives]:
    def run(lab: Laboratory) -> Lives:
        return [(like, life.result()) for life in [lab.live(scenario) for scenario in scenarios]]

    return run


def _one(act: Callable[[Finetunes], None]) -> Experiment:
    run = _by_hand(in_the_middle(act), like=plays.goes_on_when_told)
    return Experiment(act.__name__.replace("_", " "), run, attempts_differ=True)


BY_HAND = (
    _one(its_job_is_deleted),
    _one(its_job_is_edited),
    _one(its_pod_is_deleted),
    _one(its_config_is_deleted),
    _one(its_status_is_emptied),
    Experiment("100 quick edits", _by_hand(gets_a_hundred_specs, like=None)),
    Experiment("deleted in every phase and made anew", _by_hand(*RECREATED, like=plays.succeeds)),
    Experiment("its namespace is deleted", _by_hand(its_namespace_is_deleted, like=None)),
)
