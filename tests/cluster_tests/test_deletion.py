"""What deleting a pod does to its processes."""

import secrets
import time

import pytest

from tests.cluster import Cluster
from tests.cluster.client import Dict
from tests.cluster.waiting import eventually
from tests.cluster_tests.pods import a_pod, await_gone, await_phase, create, delete, get_pod, logs
from tests.cluster_tests.processes import processes_with

pytestmark = pytest.mark.cluster


def with_claim(cluster: Cluster, namespace: str) -> Dict:
    """A claim `data`, and what a pod needs to mount it at /data."""
    claim = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    path = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims"
    cluster.client.create(path, {"metadata": {"name": "data"}, "spec": claim})
    return {
        "main": {"volumeMounts": [{"name": "data", "mountPath": "/data"}]},
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}],
    }


def await_log(cluster: Cluster, namespace: str, word: str) -> None:
    await_phase(cluster, namespace, "Running")
    eventually(lambda: word in logs(cluster, namespace), f"the pod says {word}")


def test_a_pod_may_write_its_checkpoint_after_sigterm(cluster: Cluster, namespace: str) -> None:
    volume = with_claim(cluster, namespace)
    script = (
        "trap 'sleep 0.5; echo saved > /data/checkpoint; exit 143' TERM; echo up; while :; do sleep 0.1; done"
    )
    create(cluster, namespace, a_pod(script, **volume))
    await_log(cluster, namespace, "up")
    delete(cluster, namespace)
    await_gone(cluster, namespace)
    assert (cluster.volumes_dir / namespace / "data" / "checkpoint").read_text() == "saved\n"


def test_a_stubborn_pod_is_killed_after_its_grace(cluster: Cluster, namespace: str) -> None:
    mark = secrets.token_hex(8)
    env = {"env": [{"name": "MARK", "value": mark}]}
    create(cluster, namespace, a_pod("trap '' TERM; echo up; while :; do sleep 0.1; done", main=env))
    await_log(cluster, namespace, "up")
    before = time.monotonic()
    delete(cluster, namespace, gracePeriodSeconds=2)
    eventually(
        lambda: "deletionTimestamp" in (get_pod(cluster, namespace) or {})["metadata"], "the deletion begins"
    )
    assert processes_with(mark)
    await_gone(cluster, namespace)
    assert 2 <= time.monotonic() - before < 5
    assert not processes_with(mark)


def test_deletion_without_grace_leaves_no_process(cluster: Cluster, namespace: str) -> None:
    mark = secrets.token_hex(8)
    env = {"env": [{"name": "MARK", "value": mark}]}
    create(cluster, namespace, a_pod("sleep 1000 & setsid sleep 1000 & echo up; wait", main=env))
    await_log(cluster, namespace, "up")
    assert len(processes_with(mark)) >= 3
    delete(cluster, namespace, gracePeriodSeconds=0)
    eventually(lambda: not processes_with(mark), "all processes are gone")


def test_a_job_counts_a_pod_that_was_deleted(cluster: Cluster, namespace: str) -> None:
    jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"
    template = {"spec": a_pod("trap 'exit 143' TERM; echo up; while :; do sleep 0.1; done")["spec"]}
    cluster.client.create(
        jobs, {"metadata": {"name": "work"}, "spec": {"template": template, "backoffLimit": 3}}
    )

    def running() -> str | None:
        items = cluster.client.list(f"/api/v1/namespaces/{namespace}/pods")["items"]
        return next(
            (each["metadata"]["name"] for each in items if each["status"]["phase"] == "Running"), None
        )

    delete(cluster, namespace, eventually(running, "the first pod runs"))
    eventually(
        lambda: (cluster.client.get(f"{jobs}/work") or {})["status"].get("failed") == 1,
        "the Job counts the failure",
    )


def test_deleting_a_pod_that_waits_for_its_volume_does_not_hang(cluster: Cluster, namespace: str) -> None:
    volumes = [{"name": "late", "configMap": {"name": "never-made"}}]
    create(cluster, namespace, a_pod("true", volumes=volumes))
    eventually(
        lambda: (get_pod(cluster, namespace) or {})["status"].get("startTime"), "the node has taken it"
    )
    delete(cluster, namespace)
    await_gone(cluster, namespace)
