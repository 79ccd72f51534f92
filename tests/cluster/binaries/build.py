"""Builds the Go programs once into a cache folder.

The versions stand in the go.mod files beside this one and nowhere else. A folder of the cache is named
after a hash of go.mod, go.sum and the flags, appears by a rename when everything in it is there, and is
never changed.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.errors import ClusterError, tail

HERE = Path(__file__).parent
BUILD_SECONDS = 3600
PROGRESS_SECONDS = 10


@dataclass(frozen=True)
class Module:
    """One go.mod of ours and the commands built from it."""

    name: str
    path: str
    """The Go module whose version names this one."""
    commands: dict[str, str]
    """Program name to Go package."""
    version_packages: tuple[str, ...] = ()
    """Packages that keep the version in variables; clients cannot parse what they hold otherwise."""

    @property
    def folder(self) -> Path:
        return HERE / self.name

    @property
    def version(self) -> str:
        match = re.search(rf"^(?:require)?\s+{re.escape(self.path)} (v\S+)", self._go_mod, re.MULTILINE)
        if match is None:
            raise ClusterError(f"{self.folder / 'go.mod'} does not require {self.path}")
        return match[1]

    @property
    def _go_mod(self) -> str:
        return (self.folder / "go.mod").read_text()

    def linker_flags(self) -> str:
        """Strip the symbols; set the version that `go build` knows only for the module it is run in."""
        major, minor, _ = self.version.removeprefix("v").split(".", 2)
        values = {
            "gitVersion": self.version,
            "gitMajor": major,
            "gitMinor": minor,
            "gitCommit": "built-from-module",
            "gitTreeState": "clean",
            "buildDate": "1970-01-01T00:00:00Z",
        }
        pairs = (
            f"-X {package}.{key}={value}"
            for package in self.version_packages
            for key, value in values.items()
        )
        return " ".join(("-s", "-w", *pairs))

    def key(self) -> str:
        """Names the result: the same inputs give the same folder."""
        digest = hashlib.sha256(self.linker_flags().encode())
        for file in ("go.mod", "go.sum"):
            digest.update((self.folder / file).read_bytes())
        return f"{self.name}-{self.version}-{digest.hexdigest()[:10]}"


KUBERNETES = Module(
    name="kubernetes",
    path="k8s.io/kubernetes",
    commands={
        name: f"k8s.io/kubernetes/cmd/{name}"
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
    },
    version_packages=("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"),
)
ETCD = Module(name="etcd", path="go.etcd.io/etcd/server/v3", commands={"etcd": "go.etcd.io/etcd/server/v3"})
HELM = Module(name="helm", path="helm.sh/helm/v4", commands={"helm": "helm.sh/helm/v4/cmd/helm"})
FAKE_GCS_SERVER = Module(
    name="fake-gcs-server",
    path="github.com/fsouza/fake-gcs-server",
    commands={"fake-gcs-server": "github.com/fsouza/fake-gcs-server"},
)
KWOK = Module(name="kwok", path="sigs.k8s.io/kwok", commands={"kwok": "sigs.k8s.io/kwok/cmd/kwok"})
KUEUE = Module(name="kueue", path="sigs.k8s.io/kueue", commands={"kueue": "sigs.k8s.io/kueue/cmd/kueue"})
MODULES = {module.name: module for module in (KUBERNETES, ETCD, HELM, FAKE_GCS_SERVER, KWOK, KUEUE)}


def cache_root() -> Path:
    """Where everything that outlives a cluster is kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "embedding-finetune"


def ensure_built(module: Module, report: Callable[[str], None]) -> Path:
    """The folder with the module's programs, built now if it is not there."""
    root = cache_root() / "bin"
    target = root / module.key()
    if target.is_dir():
        return target
    root.mkdir(parents=True, exist_ok=True)
    with _lock(root / f".{module.name}.lock", report):
        if not target.is_dir():
            _build(module, root, target, report)
    return target


def _build(module: Module, root: Path, target: Path, report: Callable[[str], None]) -> None:
    if shutil.which("go") is None:
        raise ClusterError(f"building {module.name} {module.version} needs Go 1.24 or newer on PATH")
    for left_over in root.glob(f".{module.name}-*"):  # of a builder that was killed; the lock is ours now
        shutil.rmtree(left_over, ignore_errors=True)
    started = time.monotonic()
    scratch = Path(tempfile.mkdtemp(prefix=f".{module.name}-", dir=root))
    try:
        report(f"building {module.name} {module.version}: {', '.join(module.commands)}")
        for program, package in _outputs(module, scratch):
            _go_build(module, program, package, report)
        scratch.chmod(0o755)
        scratch.rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    report(f"built {module.name} {module.version} in {time.monotonic() - started:.0f} s")


def _outputs(module: Module, scratch: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(`-o`, packages) of each call of `go build`: one call where the names come out right by themselves."""
    if all(package.endswith("/" + name) for name, package in module.commands.items()):
        yield f"{scratch}/", tuple(module.commands.values())
        return
    for name, package in module.commands.items():
        yield str(scratch / name), (package,)


def _go_build(module: Module, output: str, packages: tuple[str, ...], report: Callable[[str], None]) -> None:
    command = [
        "go",
        "build",
        "-v",
        "-mod=readonly",
        "-trimpath",
        "-ldflags",
        module.linker_flags(),
        "-o",
        output,
    ]
    environment = {**os.environ, "CGO_ENABLED": "0"}
    with tempfile.NamedTemporaryFile(prefix="go-build-", suffix=".log") as log:
        process = subprocess.Popen(
            [*command, *packages],
            cwd=module.folder,
            env=environment,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
        )
        try:
            code = _wait(process, Path(log.name), report)
        finally:
            process.kill()
            process.wait()
        if code != 0:
            raise ClusterError(f"go build of {module.name} ended with {code}:\n{tail(Path(log.name))}")


def _wait(process: subprocess.Popen[bytes], log: Path, report: Callable[[str], None]) -> int:
    started = time.monotonic()
    while time.monotonic() - started < BUILD_SECONDS:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(timeout=PROGRESS_SECONDS)
        packages = log.read_bytes().count(b"\n")
        report(f"  {packages} packages compiled or downloaded, {time.monotonic() - started:.0f} s")
    raise ClusterError(f"go build did not end within {BUILD_SECONDS} s:\n{tail(log)}")


@contextlib.contextmanager
def _lock(path: Path, report: Callable[[str], None]) -> Iterator[None]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report(f"waiting for another build ({path})")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
