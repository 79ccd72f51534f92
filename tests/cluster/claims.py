"""A volume for a test: a claim and the folder on this machine that it will be bound to."""

from pathlib import Path

from tests.cluster.cluster import Cluster


def make_claim(cluster: Cluster, namespace: str, name: str) -> Path:
    """Create the claim; the folder of its files, which is there once the claim is bound."""
    spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
    path = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims"
    cluster.client.create(path, {"metadata": {"name": name}, "spec": spec})
    return cluster.volumes_dir / namespace / name
