"""The world the demo needs: a local cluster, the operator as its chart has it, a namespace with volumes.

The operator runs as a process beside the cluster, as the chart's service account under the chart's roles.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from demo.errors import DemoError
from demo.tasks import CLAIMS, NAMESPACE, TASKS, Task
from tests.cluster import Cluster, Settings, local_cluster
from tests.cluster.cluster import start, stop
from tests.cluster.state import named_folder
from tests.operator.process import running_operator

KEPT_CLUSTER = "demo"
"""Name of the cluster that --keep leaves behind."""
OPERATOR_SETTINGS = {"FINETUNE_PROGRESS_INTERVAL_SECONDS": "2"}
"""Two finetunes cost the API server nothing; a person likes to see them move."""
_VOLUME_SIZE = "10Gi"


def shared_node() -> Settings:
    """A node with room for both trainers at once, also on a machine with one core."""
    return Settings(cpus=max(len(TASKS), os.cpu_count() or 1))


@contextmanager
def demo_cluster(settings: Settings, *, keep: bool, report: Callable[[str], None]) -> Iterator[Cluster]:
    """A cluster that goes with the context; with keep it stays, unless the demo was interrupted."""
    if not keep:
        with local_cluster(settings, report=report) as cluster:
            yield cluster
        return
    folder = named_folder(KEPT_CLUSTER)
    if stop(folder):
        report("removed the cluster of an earlier demo")
    cluster = start(folder, settings, report=report)
    try:
        yield cluster
    except (KeyboardInterrupt, SystemExit):
        stop(folder)
        raise


@dataclass(frozen=True)
class OperatorProcess:
    """The operator, or the process that holds it."""

    process: subprocess.Popen[bytes] | subprocess.Popen[str]
    log: Path

    def check(self) -> None:
        """Raises DemoError when it has ended."""
        if (code := self.process.poll()) is not None:
            last = "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])
            raise DemoError(f"the operator ended with {code}; the end of {self.log}:\n{last}")


@contextmanager
def demo_operator(cluster: Cluster, log: Path, *, keep: bool) -> Iterator[OperatorProcess]:
    """The operator for as long as the context lasts; with keep, for as long as the cluster lasts."""
    if keep:
        yield _hold_operator(cluster, log)
        return
    with running_operator(cluster, log=log, settings=OPERATOR_SETTINGS) as operator:
        if operator.process is None:
            raise DemoError("the operator did not start")
        yield OperatorProcess(operator.process, log)


def _hold_operator(cluster: Cluster, log: Path) -> OperatorProcess:
    """Start a process that outlives this one and holds the operator until the cluster is gone."""
    command = [sys.executable, "-m", "demo.kept_operator", str(cluster.folder.path), str(log)]
    with log.open("ab") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
        )
    held = OperatorProcess(process, log)
    if process.stdout is None or not process.stdout.readline():
        process.wait()
        held.check()
    return held


def make_namespace(cluster: Cluster) -> Path:
    """The demo's namespace with its claims; the folder that has a folder for each claim."""
    objects: list[dict[str, object]] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    ]
    for name in CLAIMS:
        spec = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": _VOLUME_SIZE}}}
        metadata = {"name": name, "namespace": NAMESPACE}
        objects.append(
            {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}
        )
    cluster.kubectl(
        "apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    )
    claims = [f"pvc/{name}" for name in CLAIMS]
    cluster.kubectl("wait", "-n", NAMESPACE, "--for=jsonpath={.status.phase}=Bound", *claims, "--timeout=60s")
    return cluster.volumes_dir / NAMESPACE


def apply(cluster: Cluster, tasks: Sequence[Task]) -> None:
    """What a user does: kubectl apply."""
    files = [part for task in tasks for part in ("-f", str(task.manifest))]
    cluster.kubectl("apply", "-n", NAMESPACE, *files)


def save_trainer_log(cluster: Cluster, job: str, target: Path) -> None:
    """The logs of all attempts of a run."""
    of_job = f"batch.kubernetes.io/job-name={job}"
    text = cluster.kubectl("logs", "-n", NAMESPACE, "-l", of_job, "--tail=-1", "--prefix")
    target.write_text(text, encoding="utf-8")


def hints(cluster: Cluster, finetune: str) -> str:
    """How to go on with a cluster that was kept, by the example of one finetune."""
    return f"""\
The cluster is up. To use it:
  export KUBECONFIG={cluster.kubeconfig} PATH={cluster.bin_dir}:$PATH
  kubectl get eft -n {NAMESPACE}
  kubectl describe eft {finetune} -n {NAMESPACE}
  kubectl logs job/{finetune}-1 -n {NAMESPACE}
  kubectl edit eft {finetune} -n {NAMESPACE}      # another spec, such as learningRate, starts the next run
To stop it:
  {how_to_stop()}
"""


def how_to_stop() -> str:
    """The command that ends a kept cluster, for the folder this runs in."""
    python = Path(sys.executable)
    shown = python.relative_to(Path.cwd()) if python.is_relative_to(Path.cwd()) else python
    return f"{shown} -m tests.cluster down --name {KEPT_CLUSTER}"
