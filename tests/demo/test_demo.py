"""The demo as a person calls it, with one of its two finetunes."""

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.cluster.binaries.build import cache_root
from tests.cluster.waiting import eventually

ROOT = Path(__file__).parents[2]
MINUTES = 60


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A cache of its own, so that a cluster somebody has kept is left alone; only the programs are shared."""
    cache = tmp_path / "cache/embedding-finetune"
    cache.mkdir(parents=True)
    for programs in ("bin", "debian"):
        (cache / programs).symlink_to(cache_root() / programs)
    folders = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}
    return {**os.environ, **folders, "COLUMNS": "200"}


def holders() -> list[int]:
    """Processes that hold an operator for a cluster that was kept."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if b"demo.kept_operator" in command:
            found.append(int(folder.name))
    return found


@pytest.mark.cluster
@pytest.mark.training
@pytest.mark.slow
@pytest.mark.timeout(40 * MINUTES)
def test_the_demo_reaches_its_numbers_and_leaves_a_cluster_that_can_be_used(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    def run(*command: str, **variables: str) -> str:
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env={**environment, **variables},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    before = holders()
    down = [sys.executable, "-m", "tests.cluster", "down", "--name", "demo"]
    try:
        told = run(sys.executable, "-m", "demo", "--keep", "--only", "visual-documents")
        assert re.search(r"NDCG@10 +0\.0\d\d -> 0\.9\d\d", told), told
        for part in (
            "95 % interval",
            "passed",
            "better",
            "copied to demo-results/visual-documents",
            "in all",
        ):
            assert part in told
        assert (tmp_path / "demo-results/visual-documents/model.safetensors").exists()
        with Image.open(tmp_path / "demo-results/visual-documents.png") as sheet:
            assert sheet.width > 1000

        (line,) = (line for line in told.splitlines() if "export KUBECONFIG=" in line)
        variables = dict(word.split("=", 1) for word in shlex.split(line)[1:])
        variables["PATH"] = variables["PATH"].replace("$PATH", environment["PATH"])
        kubectl = str(Path(variables["PATH"].split(":")[0]) / "kubectl")
        assert "Ready" in run(kubectl, "get", "eft", "visual-documents", "-n", "demo", **variables)
        assert len(holders()) == len(before) + 1
    finally:
        run(*down)
    eventually(lambda: set(holders()) <= set(before), "the operator ends with its cluster", seconds=60)


@pytest.mark.cluster
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing_behind(
    tmp_path: Path, environment: dict[str, str], number: signal.Signals
) -> None:
    environment["TMPDIR"] = str(tmp_path)
    command = [sys.executable, "-m", "demo", "--only", "visual-documents"]
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "Starting" in line or "Preparing" in line:
                break
        demo.send_signal(number)
        rest = demo.stdout.read()
        assert demo.wait(2 * MINUTES) == 130
    assert "interrupted; the cluster is removed" in rest
    assert not list(tmp_path.glob("finetune-cluster-*"))
