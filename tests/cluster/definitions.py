"""Waits until a kind is served. `kubectl wait` breaks off when it looks before the conditions are there."""

from tests.cluster.cluster import Cluster
from tests.cluster.waiting import eventually


def await_served(cluster: Cluster, definition: str) -> None:
    """definition: name of the CustomResourceDefinition."""
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{definition}"

    def is_established() -> bool:
        found = cluster.client.get(path) or {}
        conditions = (found.get("status") or {}).get("conditions") or []
        return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)

    eventually(is_established, f"{definition} is established")
