"""The operator as a real process beside a local cluster, under the chart's service account and roles.

Demo, end-to-end tests and the tests of the operator start it the same way:

    install_chart(cluster)
    with running_operator(cluster, log=folder / "operator.log") as operator:
        ... operator.metrics(), operator.health_url, operator.stop(), operator.start() ...
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import Cluster, ClusterError
from tests.cluster.binaries import MODULES, ensure_built
from tests.cluster.definitions import await_served
from tests.cluster.ports import reserve
from tests.cluster.waiting import eventually

CHART = Path(__file__).parents[2] / "charts/embedding-finetune-operator"
RELEASE = "embedding-finetune-operator"
NAMESPACE = "embedding-finetune-system"
TRAINER_IMAGE = "embedding-finetune-trainer:local"
# A restart takes two seconds of the interpreter's own; beside a busy cluster it may be many more.
START_SECONDS = 60.0
STOP_SECONDS = 10.0
QUICK_LEASE = {"FINETUNE_LEASE_DURATION_SECONDS": "5", "FINETUNE_LEASE_DEADLINE_SECONDS": "4"}


def install_chart(cluster: Cluster) -> None:
    """CRD, service account, roles and Secret of the chart; `running_operator` replaces its Deployment."""
    if cluster.client.get(f"/api/v1/namespaces/{NAMESPACE}") is None:
        cluster.client.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    objects = [thing for thing in _render(cluster) if thing["kind"] != "Deployment"]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)
    await_served(cluster, "embeddingfinetunes.embeddings.dev")


def _render(cluster: Cluster) -> list[dict[str, Any]]:
    installed = shutil.which("helm")
    helm = Path(installed) if installed else ensure_built(MODULES["helm"], print) / "helm"
    kubernetes = cluster.client.request("GET", "/version")["gitVersion"]
    command = [helm, "template", RELEASE, CHART, "--namespace", NAMESPACE, "--kube-version", kubernetes]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode != 0:
        raise ClusterError(f"helm did not render the chart: {done.stderr}")
    return [document for document in yaml.safe_load_all(done.stdout) if document]


@dataclass
class Operator:
    """One replica. `stop`, `kill` and `start` may follow each other; settings and ports stay."""

    environment: Mapping[str, str]
    log: Path
    health_url: str
    report_url: str
    command: tuple[str, ...] = ()
    """In place of `finetune-operator`."""
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> None:
        """Start it if it does not run, and wait until it answers."""
        if self.process is not None:
            return
        command = self.command or (str(Path(sys.executable).parent / "finetune-operator"),)
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(command, env=self.environment, stdout=output, stderr=output)
        eventually(self._is_ready, f"the operator is ready, see {self.log}", seconds=START_SECONDS)

    def await_leading(self) -> None:
        """Wait until it is the replica that acts and takes reports."""
        eventually(
            lambda: self.metric("embedding_finetune_operator_leader") == 1, "leading", seconds=START_SECONDS
        )

    def stop(self) -> int:
        """SIGTERM, and its exit code. Raises TimeoutExpired if it does not end in time."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """SIGKILL: what a crash looks like."""
        return self._end(signal.SIGKILL)

    def _end(self, number: int) -> int:
        if self.process is None:
            return 0
        self.process.send_signal(number)
        try:
            return self.process.wait(STOP_SECONDS)
        finally:
            self.process.kill()
            self.process.wait()
            self.process = None

    def metrics(self) -> str:
        """The text of /metrics."""
        with urllib.request.urlopen(f"{self.health_url}/metrics", timeout=10) as answer:  # noqa: S310 - http
            return str(answer.read().decode())

    def metric(self, series: str) -> float | None:
        """Value of one series, written as in /metrics, or None."""
        lines = (line.rpartition(" ") for line in self.metrics().splitlines() if not line.startswith("#"))
        return next((float(value) for name, _, value in lines if name == series), None)

    def _is_ready(self) -> bool:
        assert self.process is not None, "the operator was stopped meanwhile"
        if (code := self.process.poll()) is not None:
            self.process = None
            tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])
            raise RuntimeError(f"the operator ended with {code}:\n{tail}")
        try:
            with urllib.request.urlopen(f"{self.health_url}/readyz", timeout=5) as answer:  # noqa: S310 - http
                return bool(answer.status == 200)
        except OSError:
            return False


@contextlib.contextmanager
def running_operator(
    cluster: Cluster, *, log: Path, settings: Mapping[str, str] | None = None
) -> Iterator[Operator]:
    """A replica that leads, for as long as the context lasts; `install_chart` must have been called.

    settings: further FINETUNE_* variables.
    """
    with reserve(2) as (health_port, report_port):
        operator = Operator(
            environment=environment(cluster, health_port, report_port, settings or {}),
            log=log,
            health_url=f"http://127.0.0.1:{health_port}",
            report_url=f"https://127.0.0.1:{report_port}",
        )
        operator.start()
        try:
            operator.await_leading()
            yield operator
        finally:
            operator.stop()


def environment(
    cluster: Cluster, health_port: int, report_port: int, settings: Mapping[str, str]
) -> dict[str, str]:
    """As in the chart's Deployment, but for addresses: pods of the process node share this network."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("FINETUNE_")}
    return {
        **inherited,
        "KUBECONFIG": str(cluster.kubeconfig_for(NAMESPACE, RELEASE)),
        "FINETUNE_NAMESPACE": NAMESPACE,
        "FINETUNE_TRAINER_IMAGE": TRAINER_IMAGE,
        "FINETUNE_CA_SECRET_NAME": f"{RELEASE}-ca",
        "FINETUNE_LEASE_NAME": RELEASE,
        "FINETUNE_REPORT_URL": f"https://127.0.0.1:{report_port}",
        "FINETUNE_REPORT_BIND_ADDRESS": "127.0.0.1",
        "FINETUNE_REPORT_PORT": str(report_port),
        "FINETUNE_HEALTH_PORT": str(health_port),
        **settings,
    }
