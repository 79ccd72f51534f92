"""Finds the programs of Kubernetes, or builds them from their published Go modules.

Order: the folder in KUBEBUILDER_ASSETS (as controller-runtime's envtest does), then PATH, both only in a
version that fits, then the cache, which is filled by `go build` when it has nothing. The three
control-plane programs are always taken from one place: a controller manager newer than its API server is
not supported by Kubernetes.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.binaries.build import KUBERNETES, Module, cache_root, ensure_built
from tests.cluster.binaries.build import MODULES as MODULES
from tests.cluster.errors import ClusterError

__all__ = ["MODULES", "Module", "Toolset", "ensure_built", "find"]

CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
# 1.33 is the oldest API server whose defaults the operator is written for; etcd 3.4 lacks what it asks for.
OLDEST_KUBERNETES = (1, 33)
OLDEST_ETCD = (3, 5)


@dataclass(frozen=True)
class Toolset:
    """Where each program was found."""

    programs: dict[str, Path]

    def __getitem__(self, name: str) -> Path:
        return self.programs[name]

    def to_json(self) -> str:
        """For the supervisor's command line."""
        return json.dumps({name: str(path) for name, path in self.programs.items()})

    @classmethod
    def from_json(cls, text: str) -> "Toolset":
        """The reverse of `to_json`."""
        return cls({name: Path(path) for name, path in json.loads(text).items()})

    def link_into(self, folder: Path) -> None:
        """Fill a folder with one link a program, to be put on PATH."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, target in self.programs.items():
            link = folder / name
            link.unlink(missing_ok=True)
            link.symlink_to(target)


def find(report: Callable[[str], None]) -> Toolset:
    """Every program a cluster needs; builds those that are found nowhere."""
    programs: dict[str, Path] = {}
    groups = (
        (KUBERNETES, CONTROL_PLANE, ("--version",), OLDEST_KUBERNETES),
        (KUBERNETES, ("kubectl",), ("version", "--client"), OLDEST_KUBERNETES),
        (MODULES["etcd"], ("etcd",), ("--version",), OLDEST_ETCD),
    )
    for module, names, version_arguments, oldest in groups:
        programs |= _installed(names, version_arguments, oldest) or _built(module, names, report)
    return Toolset(programs)


def _installed(
    names: tuple[str, ...], arguments: tuple[str, ...], oldest: tuple[int, int]
) -> dict[str, Path]:
    for folder in _candidate_folders():
        programs = {name: folder / name for name in names}
        if all(os.access(path, os.X_OK) for path in programs.values()):
            version = _version(programs[names[0]], arguments)
            if version is not None and version >= oldest:
                return programs
    return {}


def _candidate_folders() -> Iterator[Path]:
    if assets := os.environ.get("KUBEBUILDER_ASSETS"):
        yield Path(assets)
    for entry in os.environ.get("PATH", "").split(os.pathsep):
        if entry:
            yield Path(entry)


def _version(program: Path, arguments: tuple[str, ...]) -> tuple[int, int] | None:
    try:
        answer = subprocess.run(
            [program, *arguments],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"v?(\d+)\.(\d+)\.\d+", answer.stdout)
    return (int(match[1]), int(match[2])) if match else None


def _built(module: Module, names: tuple[str, ...], report: Callable[[str], None]) -> dict[str, Path]:
    folder = ensure_built(module, report)
    missing = [name for name in names if not (folder / name).exists()]
    if missing:
        raise ClusterError(f"{folder} lacks {', '.join(missing)}; remove that folder, it is built again")
    return {name: folder / name for name in names}


def require_program(name: str, package: str) -> Path:
    """A program that comes from the distribution: on PATH, or where scripts/setup has unpacked it."""
    unpacked = cache_root() / "debian/usr/bin"
    found = shutil.which(name) or shutil.which(name, path=str(unpacked))
    if found is None:
        raise ClusterError(
            f"{name} is neither on PATH nor in {unpacked}; run scripts/setup, or install package {package}"
        )
    return Path(found)
