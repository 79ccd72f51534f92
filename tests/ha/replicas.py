"""Replicas of the operator as its Deployment has them: a pod each, one Service, each request written down."""

import contextlib
import json
import os
import signal
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cluster import Cluster
from tests.cluster.ports import reserve
from tests.cluster.waiting import eventually
from tests.faults.calls import Call
from tests.faults.faults import Fault
from tests.faults.proxy import Proxy, ProxyHost
from tests.ha.service import PODS, ReportService
from tests.operator.process import NAMESPACE, RELEASE, Operator, environment

LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/{RELEASE}"


@dataclass
class Replica:
    """One replica behind a proxy of its own."""

    name: str
    operator: Operator
    proxy: Proxy

    @property
    def pid(self) -> int:
        assert self.operator.process is not None
        return self.operator.process.pid

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def leads(self) -> bool:
        return self.operator.metric("embedding_finetune_operator_leader") == 1

    def wait(self, seconds: float) -> int:
        """The exit code of one that ends by itself or was asked to."""
        process, self.operator.process = self.operator.process, None
        assert process is not None
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    def terminate(self) -> tuple[int, float]:
        """SIGTERM: exit code and seconds until it ended."""
        began = time.monotonic()
        self.signal(signal.SIGTERM)
        return self.wait(30), time.monotonic() - began

    def writes(self, *, since: float = 0.0) -> list[Call]:
        """What it changed that belongs to finetunes, since that time of the monotonic clock."""
        return [
            call
            for call in tuple(self.proxy.calls)
            if call.is_write and call.at >= since and call.kind != "pods"
        ]


@dataclass
class Deployment:
    """The operator's replicas. `start` adds one."""

    cluster: Cluster
    service: ReportService
    proxies: ProxyHost
    folder: Path
    settings: Mapping[str, str]
    replicas: list[Replica] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._tls = ssl.create_default_context(cafile=str(self.cluster.folder.pki / "ca.crt"))

    def start(
        self,
        settings: Mapping[str, str] | None = None,
        *,
        command: tuple[str, ...] = (),
        fault: Fault | None = None,
    ) -> Replica:
        """One more, ready. settings: further variables; command: in place of `finetune-operator`."""
        name = f"operator-{len(self.replicas)}"
        proxy = self._stack.enter_context(self.proxies.proxy(self.cluster.server, self._tls))
        health, reports = self._stack.enter_context(reserve(2))
        proxy.fault = fault or Fault()
        self._make_pod(name, reports)
        own = {
            **self.settings,
            **(settings or {}),
            "FINETUNE_REPORT_URL": self.service.url,
            "FINETUNE_POD_NAME": name,
            "KUBECONFIG": str(self._kubeconfig(name, proxy)),
        }
        operator = Operator(
            environment=environment(self.cluster, health, reports, own),
            log=self.folder / f"{name}.log",
            health_url=f"http://127.0.0.1:{health}",
            report_url=f"https://127.0.0.1:{reports}",
            command=command,
        )
        replica = Replica(name, operator, proxy)
        self.replicas.append(replica)
        operator.start()
        return replica

    def start_leader(
        self, settings: Mapping[str, str] | None = None, *, command: tuple[str, ...] = ()
    ) -> Replica:
        replica = self.start(settings, command=command)
        replica.operator.await_leading()
        return replica

    def leader(self) -> Replica | None:
        """The replica that says it leads."""
        running = [replica for replica in self.replicas if replica.operator.process is not None]
        return next((replica for replica in running if replica.leads()), None)

    def holder(self) -> str:
        """The pod that holds the Lease; empty when it was handed back."""
        lease = self.cluster.client.get(LEASE)
        assert lease is not None
        return str(lease["spec"]["holderIdentity"]).rpartition("_")[0]

    def close(self) -> None:
        for replica in self.replicas:
            if replica.operator.process is not None:
                replica.operator.kill()
            self.cluster.client.delete(f"{PODS}/{replica.name}", {"gracePeriodSeconds": 0})
        self._stack.close()

    def _make_pod(self, name: str, port: int) -> None:
        """With the labels of the Deployment, and for no scheduler: the process runs elsewhere."""
        selector = self.service.selector_without_leader()
        container = {
            "name": "operator",
            "image": "none",
            "ports": [{"name": "reports", "containerPort": port}],
        }
        self.cluster.client.delete(f"{PODS}/{name}", {"gracePeriodSeconds": 0})
        eventually(lambda: self.cluster.client.get(f"{PODS}/{name}") is None, "the former pod is gone")
        metadata = {"name": name, "labels": selector}
        spec = {"schedulerName": "nobody", "containers": [container]}
        self.cluster.client.create(PODS, {"metadata": metadata, "spec": spec})

    def _kubeconfig(self, name: str, proxy: Proxy) -> Path:
        config: dict[str, Any] = json.loads(self.cluster.kubeconfig_for(NAMESPACE, RELEASE).read_text())
        config["clusters"][0]["cluster"] = {"server": proxy.url}
        path = self.folder / f"{name}.kubeconfig"
        path.write_text(json.dumps(config))
        return path


@contextlib.contextmanager
def deployment(
    cluster: Cluster, service: ReportService, proxies: ProxyHost, folder: Path, settings: Mapping[str, str]
) -> Iterator[Deployment]:
    """No replica at first; all are killed in the end, and the Lease is free."""
    replicas = Deployment(cluster, service, proxies, folder, settings)
    try:
        yield replicas
    finally:
        replicas.close()
        cluster.client.delete(LEASE)


def seconds_until(probe: Callable[[], Any], what: str, *, seconds: float = 60) -> float:
    began = time.monotonic()
    eventually(probe, what, seconds=seconds)
    return time.monotonic() - began
