"""A node that runs nothing: kwok says of its pods that they run, so that thousands fit on one machine."""

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.cluster import Cluster
from tests.cluster.binaries import MODULES, ensure_built
from tests.cluster.waiting import eventually

NODE = "pretended"
STAGES = Path(__file__).parent / "stages.yaml"
START_SECONDS = 60.0


@contextlib.contextmanager
def fake_node(cluster: Cluster, report: Callable[[str], None]) -> Iterator[int]:
    """The node, ready, for as long as the context lasts; gives kwok's process id."""
    program = ensure_built(MODULES["kwok"], report) / "kwok"
    command = [str(program), "--kubeconfig", str(cluster.kubeconfig), "--config", str(STAGES)]
    command += ["--manage-single-node", NODE, "--node-lease-duration-seconds", "40"]
    with (cluster.folder.logs / "kwok.log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        labels = {"kubernetes.io/hostname": NODE}
        cluster.client.create("/api/v1/nodes", {"metadata": {"name": NODE, "labels": labels}})
        eventually(lambda: _is_ready(cluster), "kwok's node is ready", seconds=START_SECONDS)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def _is_ready(cluster: Cluster) -> bool:
    node = cluster.client.get(f"/api/v1/nodes/{NODE}") or {}
    conditions = node.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
