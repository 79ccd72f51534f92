"""Starting and ending whole clusters, also when somebody is killed."""

import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster import Cluster, ClusterError, local_cluster
from tests.cluster.controlplane import REPOSITORY
from tests.cluster.waiting import eventually
from tests.cluster_tests.pods import a_pod, await_phase, create, run_to_end
from tests.cluster_tests.processes import processes_with

pytestmark = pytest.mark.cluster

OWNER = """
import sys
from tests.cluster import local_cluster
with local_cluster() as cluster:
    print(cluster.folder.path, flush=True)
    sys.stdin.read()
"""


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`python -m tests.cluster`."""
    words = [sys.executable, "-m", "tests.cluster", *arguments]
    return subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False)


def test_the_control_plane_has_the_version_it_was_built_from(cluster: Cluster) -> None:
    version = cluster.client.get("/version")
    assert version is not None
    assert version["gitVersion"].startswith("v1.3")
    assert f"Server Version: {version['gitVersion']}" in cluster.kubectl("version")


def test_a_component_that_dies_is_started_again(cluster: Cluster, namespace: str) -> None:
    before = cluster.components
    os.kill(before["kube-apiserver"], signal.SIGKILL)
    eventually(
        lambda: cluster.components["kube-apiserver"] != before["kube-apiserver"], "it is started again"
    )
    eventually(lambda: _answers(cluster), "the API server answers")
    assert run_to_end(cluster, namespace, a_pod("echo still here")) == "still here\n"


def test_a_killed_agent_takes_its_containers_along(cluster: Cluster, namespace: str) -> None:
    mark = secrets.token_hex(8)
    create(cluster, namespace, a_pod("exec sleep 1000", main={"env": [{"name": "MARK", "value": mark}]}))
    await_phase(cluster, namespace, "Running")
    assert processes_with(mark)
    os.kill(cluster.components["node"], signal.SIGKILL)
    eventually(lambda: not processes_with(mark), "its processes are gone")
    await_phase(cluster, namespace, "Failed")


def test_two_clusters_live_side_by_side(cluster: Cluster, namespace: str) -> None:
    with local_cluster() as other:
        assert other.server != cluster.server
        assert other.client.get(f"/api/v1/namespaces/{namespace}") is None
        folder = other.folder.path
    assert not folder.exists()
    assert cluster.client.get(f"/api/v1/namespaces/{namespace}") is not None


def test_killing_the_owner_leaves_neither_process_nor_folder() -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with owner:
        assert owner.stdout is not None
        folder = owner.stdout.readline().strip()
        assert len(processes_with(folder)) >= 6
        owner.kill()
    eventually(lambda: not processes_with(folder), "all processes are gone")
    eventually(lambda: not Path(folder).exists(), "the folder is gone")


def test_the_commands_may_be_repeated_and_clean_up_after_a_kill(tmp_path: Path) -> None:
    folder = tmp_path / "cluster"
    where = ("--dir", str(folder))
    assert command("status", *where).returncode == 3
    assert command("down", *where).returncode == 0
    up = command("up", *where)
    assert up.returncode == 0, up.stderr
    assert "already up" in command("up", *where).stderr
    assert f"KUBECONFIG={folder}/kubeconfig" in command("env", *where).stdout
    status = command("status", *where)
    assert (status.returncode, "kube-scheduler" in status.stdout) == (0, True)

    os.kill(int((folder / "supervisor.lock").read_text()), signal.SIGKILL)
    eventually(lambda: not processes_with(str(folder)), "everything dies with the supervisor")
    assert command("status", *where).returncode == 3
    assert folder.exists()
    assert command("up", *where).returncode == 0
    assert command("down", *where).returncode == 0
    assert command("down", *where).returncode == 0
    assert not folder.exists()


def test_a_folder_that_is_not_a_clusters_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    for name in ("up", "down"):
        refused = command(name, "--dir", str(tmp_path))
        assert refused.returncode == 1
        assert "not a cluster's folder" in refused.stderr
    assert (tmp_path / "thesis.tex").exists()


def _answers(cluster: Cluster) -> bool:
    try:
        cluster.kubectl("get", "--raw", "/readyz")
    except ClusterError:
        return False
    return True
