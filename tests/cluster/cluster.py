"""Starting, finding and using a local cluster: what tests, the demo and the command line share."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.cluster import binaries
from tests.cluster.binaries import require_program
from tests.cluster.client import Client
from tests.cluster.controlplane import REPOSITORY, write_kubeconfig
from tests.cluster.errors import ClusterError, tail
from tests.cluster.state import Folder, Settings, settings_to_json

# Longer than the supervisor's own limit, so that its reason is heard.
START_SECONDS = 120.0
STOP_SECONDS = 30.0
PROBE_SECONDS = 20.0
POLL_SECONDS = 0.02
TOKEN_SECONDS = 365 * 24 * 3600


@dataclass(frozen=True)
class Cluster:
    """A running cluster."""

    folder: Folder
    supervisor: subprocess.Popen[bytes] | None = field(default=None, repr=False, compare=False)
    """Where this process started it: its child, to be waited for."""

    @property
    def kubeconfig(self) -> Path:
        """Of the administrator (group system:masters)."""
        return self.folder.kubeconfig

    @property
    def bin_dir(self) -> Path:
        """Has kubectl and the server programs."""
        return self.folder.bin

    @property
    def volumes_dir(self) -> Path:
        """A claim's files lie in `<volumes_dir>/<namespace>/<claim>`."""
        return self.folder.volumes

    @property
    def server(self) -> str:
        """URL of the API server."""
        return str(self._record["server"])

    @property
    def components(self) -> dict[str, int]:
        """Process id of each component; killed ones are started again under a new id."""
        return dict(self._record["components"])

    @property
    def seconds(self) -> dict[str, float]:
        """How long each part of the start took."""
        return dict(self._record["seconds"])

    @cached_property
    def client(self) -> Client:
        """The administrator's."""
        return Client(self.server, self.folder.pki, "admin")

    @property
    def environment(self) -> dict[str, str]:
        """For child processes: KUBECONFIG, and PATH with this cluster's kubectl first."""
        path = os.pathsep.join((str(self.bin_dir), os.environ.get("PATH", os.defpath)))
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig), "PATH": path}

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout_seconds: float = 60) -> str:
        """What kubectl prints. Raises ClusterError with its stderr when it fails."""
        command = [str(self.bin_dir / "kubectl"), "--kubeconfig", str(self.kubeconfig), *arguments]
        try:
            done = subprocess.run(
                command,
                input=stdin or "",
                capture_output=True,
                text=True,
                timeout=timeout_seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ClusterError(
                f"kubectl {' '.join(arguments)} did not end within {timeout_seconds} s"
            ) from error
        if done.returncode != 0:
            raise ClusterError(f"kubectl {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}")
        return done.stdout

    def kubeconfig_for(self, namespace: str, service_account: str) -> Path:
        """A kubeconfig that acts as that ServiceAccount, by a token of its own that is valid for a year."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token"
        answer = self.client.create(path, {"spec": {"expirationSeconds": TOKEN_SECONDS}})
        target = self.folder.path / f"kubeconfig.{namespace}.{service_account}"
        token = answer["status"]["token"]
        write_kubeconfig(target, self.server, self.folder.pki, token=token, namespace=namespace)
        return target

    @property
    def _record(self) -> dict[str, Any]:
        record = self.folder.read_record()
        if not record:
            raise ClusterError(f"{self.folder.path} holds no running cluster")
        return record


@contextlib.contextmanager
def local_cluster(
    settings: Settings | None = None, *, report: Callable[[str], None] | None = None
) -> Iterator[Cluster]:
    """A cluster that lives as long as the context, and never longer than this process."""
    folder = Folder(Path(tempfile.mkdtemp(prefix="finetune-cluster-")))
    try:
        cluster = start(folder, settings or Settings(), owner=os.getpid(), report=report)
        try:
            yield cluster
        finally:
            cluster.client.close()
            stop(folder, cluster.supervisor)
    finally:
        folder.remove()


def attach(path: Path) -> Cluster:
    """A cluster that somebody else started."""
    folder = Folder(path)
    if not folder.is_alive() or not folder.read_record().get("ready"):
        raise ClusterError(f"no cluster runs in {path}; start one: python -m tests.cluster up --dir {path}")
    return Cluster(folder)


def start(
    folder: Folder, settings: Settings, *, owner: int = 0, report: Callable[[str], None] | None = None
) -> Cluster:
    """Start a cluster in that folder and wait until it is ready; what a dead one left there is removed."""
    _check_sandbox()
    # Here and not in the supervisor: a build may take minutes, tells its progress and can be interrupted.
    tools = binaries.find(report or (lambda _: None))
    if folder.is_alive():
        raise ClusterError(f"a cluster already runs in {folder.path}")
    _remove_stale(folder)
    folder.create()
    log = folder.logs / "supervisor.log"
    command = [sys.executable, "-m", "tests.cluster.supervisor", "--folder", str(folder.path)]
    command += [
        "--settings",
        settings_to_json(settings),
        "--owner",
        str(owner),
        "--programs",
        tools.to_json(),
    ]
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        _await_ready(folder, process, log)
    except BaseException:
        process.terminate()
        process.wait(STOP_SECONDS)
        raise
    return Cluster(folder, process)


def _check_sandbox() -> None:
    """Find out now, not in the first pod, that this machine does not let us make namespaces."""
    bwrap = require_program("bwrap", "bubblewrap")
    command = [str(bwrap), "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--unshare-pid", "true"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_SECONDS, check=False)
    if done.returncode != 0:
        raise ClusterError(
            f"bubblewrap cannot make a sandbox here: {done.stderr.strip()}; as a normal user it needs "
            "unprivileged user namespaces (sysctl kernel.unprivileged_userns_clone, user.max_user_namespaces)"
        )


def _remove_stale(folder: Folder) -> None:
    """Only a folder that is ours: a wrong --dir must not cost anybody their files."""
    if folder.path.exists() and any(folder.path.iterdir()):
        if not folder.lock.exists():
            raise ClusterError(f"{folder.path} is not empty and not a cluster's folder; choose another --dir")
        folder.remove()


def _await_ready(folder: Folder, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not folder.read_record().get("ready"):
        if process.poll() is not None:
            raise ClusterError(f"the cluster did not start:\n{tail(log, 40)}")
        if time.monotonic() > deadline:
            raise ClusterError(f"the cluster was not ready after {START_SECONDS:.0f} s:\n{tail(log, 40)}")
        time.sleep(POLL_SECONDS)


def stop(folder: Folder, child: subprocess.Popen[bytes] | None = None) -> bool:
    """Stop the cluster if it runs and remove its folder; whether there was anything to do.

    A supervisor that is a child of this process is waited for, or it would stay a zombie.
    """
    if not folder.path.exists():
        return False
    if not folder.is_alive():
        _remove_stale(folder)
        with contextlib.suppress(OSError):
            folder.path.rmdir()
        return True
    supervisor = _supervisor(folder)
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.kill(supervisor, number)
        if _await_end(folder):
            if child is not None:
                child.wait(STOP_SECONDS)
            folder.remove()
            return True
    raise ClusterError(f"process {supervisor}, the supervisor of {folder.path}, does not end")


def _supervisor(folder: Folder) -> int:
    """Its process id, from the lock file: it is written before anything is started."""
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline:
        if (text := folder.lock.read_text()).strip():
            return int(text)
        time.sleep(POLL_SECONDS)
    raise ClusterError(f"the supervisor of {folder.path} did not leave its process id")


def _await_end(folder: Folder) -> bool:
    deadline = time.monotonic() + STOP_SECONDS
    while time.monotonic() < deadline:
        if not folder.is_alive():
            return True
        time.sleep(POLL_SECONDS)
    return False
