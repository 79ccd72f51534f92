"""The folder of one cluster: where each thing lies, what is written about it, whether it is alive.

Alive means that a supervisor holds the lock of the folder. The kernel drops that lock with the process, so
neither a reused process id nor a half-written file can make a dead cluster look alive.
"""

import contextlib
import fcntl
import json
import os
import shutil
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from tests.cluster.binaries.build import cache_root
from tests.cluster.errors import ClusterError

# `is_alive` holds the lock for an instant; a supervisor that starts just then has to ask again.
PROBE_SECONDS = 2.0


def _default_path() -> str:
    """The folder of this interpreter: there the console scripts of the project's virtual environment lie."""
    return str(Path(sys.executable).parent)


@dataclass(frozen=True)
class Settings:
    """What a cluster is started with."""

    node_name: str = "local"
    gpus: int = 0
    """How many `nvidia.com/gpu` the node offers. Nothing is handed out: the scheduler only counts them."""
    extended_resources: dict[str, int] = field(default_factory=dict)
    """Further countable resources of the node, by name."""
    cpus: int = field(default_factory=lambda: os.cpu_count() or 1)
    memory: str = "64Gi"
    """What the scheduler may hand out; not enforced, so it may be more than the machine has."""
    pods: int = 500
    path: str = field(default_factory=_default_path)
    """Folder (or folders, with colons) put first into PATH of every container."""

    @property
    def resources(self) -> dict[str, str]:
        """Capacity of the node, as Kubernetes quantities."""
        extended = {"nvidia.com/gpu": self.gpus} if self.gpus else {}
        counts = {"cpu": self.cpus, "pods": self.pods, **extended, **self.extended_resources}
        return {**{name: str(count) for name, count in counts.items()}, "memory": self.memory}


@dataclass(frozen=True)
class Folder:
    """The layout of a cluster's folder."""

    path: Path

    @property
    def pki(self) -> Path:
        return self.path / "pki"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def bin(self) -> Path:
        return self.path / "bin"

    @property
    def volumes(self) -> Path:
        return self.path / "volumes"

    @property
    def pods(self) -> Path:
        return self.path / "pods"

    @property
    def etcd(self) -> Path:
        return self.path / "etcd"

    @property
    def lock(self) -> Path:
        """Held by the supervisor as long as it lives. A folder without this file is not a cluster's."""
        return self.path / "supervisor.lock"

    @property
    def kubeconfig(self) -> Path:
        return self.path / "kubeconfig"

    @property
    def _record(self) -> Path:
        return self.path / "cluster.json"

    def create(self) -> None:
        """Make an empty folder that only its owner can read."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.lock.touch()
        for folder in (self.pki, self.logs, self.volumes, self.pods):
            folder.mkdir(mode=0o755, exist_ok=True)

    def remove(self) -> None:
        """Take everything away, read-only folders that a pod left behind included."""
        if self.path.exists():
            shutil.rmtree(self.path, onerror=_force)
        if self.path.exists():
            raise ClusterError(f"{self.path} could not be removed; something still writes to it")

    def write_record(self, record: dict[str, Any]) -> None:
        """Replace the record in one step: readers never see half of it."""
        scratch = self._record.with_suffix(".new")
        scratch.write_text(json.dumps(record, indent=1))
        scratch.rename(self._record)

    def read_record(self) -> dict[str, Any]:
        """What the supervisor wrote last; empty when it wrote nothing yet."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            record: dict[str, Any] = json.loads(self._record.read_text())
            return record
        return {}

    def acquire(self) -> IO[str]:
        """Hold the folder's lock until the returned file is closed; the file then names this process."""
        lock = self.lock.open("a")
        deadline = time.monotonic() + PROBE_SECONDS
        while not _locks(lock):
            if time.monotonic() > deadline:
                lock.close()
                raise ClusterError(f"{self.path} already has a running supervisor")
            time.sleep(0.02)
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        return lock

    def is_alive(self) -> bool:
        """Whether a supervisor holds the lock now. Creates nothing: the folder may be somebody else's."""
        try:
            with self.lock.open() as lock:
                return not _locks(lock)
        except (FileNotFoundError, NotADirectoryError):
            return False


def _locks(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def named_folder(name: str) -> Folder:
    """The folder of a cluster that was started from the command line."""
    if not name.replace("-", "").isalnum():
        raise ClusterError(f"a cluster's name consists of letters, digits and hyphens, not {name!r}")
    return Folder(cache_root() / "clusters" / name)


def settings_to_json(settings: Settings) -> str:
    """For the command line of the supervisor and the node."""
    return json.dumps(asdict(settings))


def settings_from_json(text: str) -> Settings:
    """The reverse of `settings_to_json`."""
    return Settings(**json.loads(text))


def _force(function: Any, path: str, _error: Any) -> None:
    with contextlib.suppress(OSError):
        Path(path).parent.chmod(0o700)
        Path(path).chmod(0o700)
        function(path)
