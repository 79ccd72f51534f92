"""Looks at what watches have told: when they need no reads, and when they must not do without."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from finetune_api.report import Report
from finetune_operator.decisions.observed import PostedReport
from finetune_operator.kube import ApiFailure, Conflict
from finetune_operator.reconcile import CONFLICT_RETRY_SECONDS
from tests.operator.test_reconcile import KEY, NOW, OURS, Bench
from tests.plan import world

KIND = "EmbeddingFinetune"
CREATES = [("create", "ConfigMap"), ("create", "Job")]


class Watching(Bench):
    """The finetune just applied; what is in the API server is seen when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.see(KIND)

    def see(self, kind: str, name: str = "", **changes: Any) -> bool:
        """Have the watch show the object, changed by somebody else if there are changes."""
        place = (kind, "team", name or ("one" if kind == KIND else "one-1"))
        if changes:
            self.kube.add({**self.kube.objects[place], **changes})
        return self.memory.views.saw(kind, KEY, self.kube.objects[place])

    def add_pod(self, **status: Any) -> None:
        labels = {"embeddings.dev/finetune": "one", "batch.kubernetes.io/job-name": "one-1"}
        labels["embeddings.dev/finetune-uid"] = "u1"
        metadata: dict[str, Any] = {"namespace": "team", "name": "one-1-abc", "labels": labels}
        metadata["creationTimestamp"] = "2026-01-01T00:00:00Z"
        job = self.kube.objects["Job", "team", "one-1"]["metadata"]["uid"]
        metadata["ownerReferences"] = [{"kind": "Job", "controller": True, "uid": job}]
        self.kube.add({"kind": "Pod", "metadata": metadata, "spec": {}, "status": status})

    def end_pod(self) -> None:
        """Well, and have that be seen, a minute after the finetune was applied."""
        self.look()
        ended = {"exitCode": 0, "finishedAt": "2026-01-01T00:00:01Z"}
        self.add_pod(
            phase="Succeeded", containerStatuses=[{"name": "trainer", "state": {"terminated": ended}}]
        )
        self.see("Pod", "one-1-abc")
        self.kube.requests.clear()
        self.around = replace(self.around, now=lambda: NOW + timedelta(minutes=1))
        self.look()

    def conditions(self) -> dict[str, str]:
        """Reasons by type."""
        return {c["type"]: c["reason"] for c in self.status()["conditions"]}

    def requests(self) -> list[tuple[str, str]]:
        """Since the last time, without Events."""
        found = [request for request in self.kube.requests if request[1] != "Event"]
        self.kube.requests.clear()
        return found


@pytest.fixture
def bench() -> Watching:
    return Watching()


STARTED = {"running": {"startedAt": "2026-01-01T00:00:01Z"}}
RUNNING = {"phase": "Running", "containerStatuses": [{"name": "trainer", "state": STARTED}]}


def test_a_new_finetune_needs_no_reads(bench: Watching) -> None:
    bench.look()
    assert bench.requests() == [*CREATES, ("update", KIND)]
    assert bench.reasons() == ["Started"]


def test_a_pod_that_runs_needs_one_write(bench: Watching) -> None:
    bench.look()
    bench.requests()
    bench.add_pod(**RUNNING)
    assert bench.see("Pod", "one-1-abc")
    bench.look()
    assert bench.requests() == [("update", KIND)]
    assert bench.conditions()["Reconciling"] == "Running"


def test_a_look_that_nothing_was_heard_for_reads_everything(bench: Watching) -> None:
    bench.look()
    bench.requests()
    bench.look()
    assert bench.requests() == [("get", KIND), ("get", "Job"), ("get", "ConfigMap")]


def test_pods_are_read_by_name_unless_the_job_counts_one_that_nobody_knows(bench: Watching) -> None:
    """To list those with a label, the API server goes through every pod of the namespace."""
    bench.look()
    bench.add_pod(**RUNNING)
    bench.see("Pod", "one-1-abc")
    bench.look()
    counted = (({"active": 1}, "get"), ({"active": 1, "failed": 1}, "list"), ({"succeeded": 1}, "list"))
    for status, read in counted:
        bench.kube.add({**bench.kube.objects["Job", "team", "one-1"], "status": status})
        bench.requests()
        bench.look()
        assert [verb for verb, kind in bench.requests() if kind == "Pod"][-1] == read


@pytest.mark.parametrize(
    ("metadata", "state"),
    [({"deletionTimestamp": "2026-01-01T00:00:00Z"}, RUNNING), ({}, {"phase": "Failed"})],
)
def test_a_pod_that_goes_or_was_evicted_is_not_taken_for_the_one_that_its_job_counts(
    bench: Watching, metadata: dict[str, Any], state: dict[str, Any]
) -> None:
    bench.look()
    bench.add_pod(**state)
    bench.kube.objects["Pod", "team", "one-1-abc"]["metadata"] |= metadata
    bench.see("Pod", "one-1-abc")
    bench.look()
    bench.kube.add({**bench.kube.objects["Job", "team", "one-1"], "status": {"active": 1}})
    bench.requests()
    bench.look()
    assert ("list", "Pod") in bench.requests()


def test_the_first_look_at_a_run_that_another_process_began_reads_everything(bench: Watching) -> None:
    bench.look()
    after = Watching()
    after.kube.objects = bench.kube.objects
    for kind in (KIND, "Job"):
        after.see(kind)
    after.requests()
    after.look()
    assert ("get", "Job") in after.requests()


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        pytest.param({"ownerReferences": OURS}, "SpecChanged", id="ours, for another spec"),
        pytest.param({}, "NameTaken", id="nobody's"),
        pytest.param({"ownerReferences": [{**OURS[0], "uid": "u0"}]}, "JobTerminating", id="a namesake's"),
        pytest.param(
            {"ownerReferences": OURS, "deletionTimestamp": "2026-01-01T00:00:00Z"}, "SpecChanged", id="going"
        ),
    ],
)
def test_a_job_that_the_watch_does_not_know_yet_is_read_after_a_refusal(
    bench: Watching, metadata: dict[str, Any], reason: str
) -> None:
    bench.kube.add({"kind": "Job", "metadata": {"namespace": "team", "name": "one-1", **metadata}})
    assert bench.look() == CONFLICT_RETRY_SECONDS
    bench.requests()
    bench.look()
    assert ("get", "Job") in bench.requests()
    assert reason in bench.conditions().values()


def test_a_job_of_an_earlier_look_is_taken_over(bench: Watching) -> None:
    """Of one that ended before it could write status."""
    bench.fail_once("update", KIND, ApiFailure("planted"))
    with pytest.raises(ApiFailure):
        bench.look()
    after = Watching()
    after.kube.objects = bench.kube.objects
    for _ in range(2):
        after.look()
    assert after.conditions()["Reconciling"] == "Starting"
    assert ("delete", "Job") not in after.requests()


def test_after_a_write_that_got_lost_everything_is_read_whatever_is_heard(bench: Watching) -> None:
    bench.fail_once("update", KIND, ApiFailure("planted"))
    with pytest.raises(ApiFailure):
        bench.look()
    bench.see("Job", status={"active": 1})
    bench.requests()
    bench.look()
    assert ("get", "Job") in bench.requests()
    assert bench.status()["run"]["job"] == "one-1"


def test_a_job_is_not_made_again_on_the_word_of_a_watch(bench: Watching) -> None:
    bench.look()
    bench.memory.views.lost("Job", KEY, bench.kube.objects["Job", "team", "one-1"])
    bench.requests()
    bench.look()
    assert bench.requests()[:2] == [("get", KIND), ("get", "Job")]
    assert "JobRecreated" not in bench.reasons()


def test_a_run_is_not_given_up_on_the_word_of_a_watch(bench: Watching) -> None:
    """The Job's end may be told before that of the pod, whose message has the Report."""
    bench.look()
    bench.requests()
    done = {"type": "Complete", "status": "True", "lastTransitionTime": "2026-01-01T00:01:00Z"}
    bench.see("Job", status={"succeeded": 1, "conditions": [done]})
    bench.look()
    assert ("list", "Pod") in bench.requests()


def test_the_ghost_of_a_job_that_a_broken_watch_left_is_noticed(bench: Watching) -> None:
    bench.look()
    bench.add_pod(**RUNNING)
    bench.see("Pod", "one-1-abc")
    bench.look()
    del bench.kube.objects["Job", "team", "one-1"]
    del bench.kube.objects["Pod", "team", "one-1-abc"]
    bench.look()
    assert "JobRecreated" in bench.reasons()


def test_a_report_calls_for_no_reads(bench: Watching) -> None:
    bench.look()
    bench.requests()
    bench.memory.views.heard(KEY)
    bench.look()
    assert not [request for request in bench.requests() if request[0] in {"get", "list"}]


UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}


def test_a_pod_that_says_what_it_waits_for_is_looked_at_without_reads(bench: Watching) -> None:
    bench.look()
    bench.add_pod(phase="Pending", conditions=[UNSCHEDULABLE])
    bench.see("Pod", "one-1-abc")
    bench.look()
    assert bench.status()["phase"] == "Pending"
    bench.requests()
    assert bench.look() is not None
    assert bench.requests() == []


def test_a_new_finetune_waits_for_the_pods_of_one_that_had_its_name(bench: Watching) -> None:
    bench.look()
    bench.add_pod(**RUNNING)
    bench.see("Pod", "one-1-abc")
    going = {
        **bench.kube.objects[KIND, "team", "one"]["metadata"],
        "deletionTimestamp": "2026-01-01T00:00:00Z",
    }
    bench.see(KIND, metadata=going)
    bench.look()
    bench.memory.views.lost("Job", KEY, bench.kube.objects.pop(("Job", "team", "one-1")))
    bench.memory.views.forget(KEY, "u1")
    del bench.kube.objects["ConfigMap", "team", "one-1"]
    bench.requests()
    bench.see(
        KIND, metadata={**going, "uid": "u2", "deletionTimestamp": None}, status={"observedGeneration": -1}
    )
    bench.look()
    assert ("create", "Job") not in bench.requests()


def test_a_pod_that_ended_well_is_no_reason_to_read_events(bench: Watching) -> None:
    """Its Job is about to say so; with thousands of them it may take a minute."""
    bench.end_pod()
    bench.look()  # nothing was heard since: this one reads
    assert ("get", "Pod") in bench.kube.requests
    assert ("list", "Event") not in bench.kube.requests


def test_a_pod_that_ended_well_is_not_read_while_other_jobs_are_told_of(bench: Watching) -> None:
    bench.end_pod()
    bench.memory.views.told_of_a_job()
    bench.look()
    assert bench.requests() == [("update", KIND)]


def test_the_end_of_a_job_whose_pod_still_seems_to_run_is_read(bench: Watching) -> None:
    """Jobs and pods are told by two watches, of which one may be late."""
    bench.look()
    bench.add_pod(**RUNNING)
    bench.see("Pod", "one-1-abc")
    bench.look()
    report = Report.model_validate({**world.a_report(), "uid": "u1"})
    pod = bench.kube.objects["Pod", "team", "one-1-abc"]["metadata"]["uid"]
    bench.memory.report(KEY, "u1", 1, PostedReport(report, pod))
    bench.see("Job", status={"succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}]})
    bench.add_pod(phase="Succeeded", containerStatuses=[{"name": "trainer", "state": {"terminated": {}}}])
    bench.requests()
    bench.look()
    assert ("get", "Job") in bench.requests()
    assert bench.status()["run"]["podEnded"] is True


def test_how_a_pod_ended_is_known_after_it_is_gone(bench: Watching) -> None:
    """An evicted one may go before anybody looks, and the look may have to read."""
    bench.look()
    pod = "one-1-abc"
    bench.add_pod(**RUNNING)
    bench.see("Pod", pod)
    bench.look()
    asked = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}
    ended = {"name": "trainer", "state": {"terminated": {"exitCode": 143}}}
    bench.add_pod(phase="Failed", containerStatuses=[ended], conditions=[asked])
    bench.see("Pod", pod)
    assert bench.memory.views.lost("Pod", KEY, bench.kube.objects.pop(("Pod", "team", pod)))
    bench.fail_once("update", KIND, Conflict("overtaken"))
    for _ in range(2):
        bench.look()
    assert "Drained" in bench.reasons()


def test_a_pod_that_went_with_its_job_is_not_taken_for_one_of_the_next(bench: Watching) -> None:
    bench.look()
    done = {"name": "trainer", "state": {"terminated": {"exitCode": 0}}}
    bench.add_pod(phase="Succeeded", containerStatuses=[done])
    bench.see("Pod", "one-1-abc")
    for kind, name in (("Pod", "one-1-abc"), ("Job", "one-1")):
        bench.memory.views.lost(kind, KEY, bench.kube.objects.pop((kind, "team", name)))
    for _ in range(2):
        bench.look()
    assert bench.status()["phase"] == "Starting"
    assert bench.conditions()["Reconciling"] == "JobRecreated"
