"""Pods for tests: each shows only what it is about."""

from typing import Any

from tests.cluster import Cluster
from tests.cluster.client import Dict
from tests.cluster.waiting import eventually


def a_pod(script: str, *, name: str = "pod", **spec: Any) -> Dict:
    """A pod with one container `main` that runs a shell script; `main` holds further fields of it."""
    main = {"name": "main", "image": "any", "command": ["sh", "-c", script], **spec.pop("main", {})}
    pod_spec = {"restartPolicy": "Never", "terminationGracePeriodSeconds": 5, "containers": [main], **spec}
    return {"metadata": {"name": name}, "spec": pod_spec}


def create(cluster: Cluster, namespace: str, pod: Dict) -> None:
    cluster.client.create(f"/api/v1/namespaces/{namespace}/pods", pod)


def create_config(cluster: Cluster, namespace: str, kind: str, name: str, data: dict[str, str]) -> None:
    """A ConfigMap or a Secret."""
    field = {"configmaps": "data", "secrets": "stringData"}[kind]
    cluster.client.create(f"/api/v1/namespaces/{namespace}/{kind}", {"metadata": {"name": name}, field: data})


def get_pod(cluster: Cluster, namespace: str, name: str = "pod") -> Dict | None:
    return cluster.client.get(f"/api/v1/namespaces/{namespace}/pods/{name}")


def status(cluster: Cluster, namespace: str, name: str = "pod") -> Dict:
    """The status of a pod that exists."""
    found = get_pod(cluster, namespace, name)
    assert found is not None, f"pod {name} does not exist"
    result: Dict = found["status"]
    return result


def await_phase(cluster: Cluster, namespace: str, phase: str, name: str = "pod") -> Dict:
    """The status, once the pod is in that phase."""

    def probe() -> Dict | None:
        now = status(cluster, namespace, name)
        return now if now["phase"] == phase else None

    return eventually(probe, f"pod {name} is {phase}")


def run_to_end(cluster: Cluster, namespace: str, pod: Dict) -> str:
    """The log of a pod that succeeds."""
    create(cluster, namespace, pod)
    name = pod["metadata"]["name"]

    def probe() -> Dict | None:
        now = status(cluster, namespace, name)
        return now if now["phase"] in ("Succeeded", "Failed") else None

    ended = eventually(probe, f"pod {name} ends")
    log = logs(cluster, namespace, name)
    assert ended["phase"] == "Succeeded", log
    return log


def logs(cluster: Cluster, namespace: str, name: str = "pod", **query: str) -> str:
    path = f"/api/v1/namespaces/{namespace}/pods/{name}/log"
    return cluster.client.raw("GET", path, query=query).decode()


def await_gone(cluster: Cluster, namespace: str, name: str = "pod") -> None:
    eventually(lambda: get_pod(cluster, namespace, name) is None, f"pod {name} is gone")


def delete(cluster: Cluster, namespace: str, name: str = "pod", **options: Any) -> None:
    cluster.client.delete(f"/api/v1/namespaces/{namespace}/pods/{name}", options)
