"""Makes the node known and keeps it so: the Node object, its Ready condition and its Lease."""

import datetime as dt
import os
import platform
import threading

from tests.cluster.client import STRATEGIC_PATCH, ApiError, Client, Dict, Unreachable
from tests.cluster.node.times import micro_text, now, seconds_text
from tests.cluster.state import Settings

LEASE_SECONDS = 40
RENEW_SECONDS = 10.0
# A kubelet whose status does not change writes it every five minutes; the Lease is the sign of life.
STATUS_SECONDS = 300.0
# Registers as the version it imitates: clients compare it with the API server's.
KUBELET_VERSION = "v1.34.4"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class Registration:
    """Runs on a thread of its own until stopped."""

    def __init__(self, client: Client, settings: Settings, log_port: int) -> None:
        self._client = client
        self._settings = settings
        self._log_port = log_port
        self._ready_since = now()
        self._stopped = threading.Event()

    def run(self) -> None:
        """Register, then renew; whatever the API server does, try again."""
        next_status = now()
        while not self._stopped.is_set():
            try:
                if now() >= next_status:
                    self._register()
                    next_status = now() + dt.timedelta(seconds=STATUS_SECONDS)
                self._renew_lease()
            except (ApiError, Unreachable) as error:
                print(f"registration: {error}", flush=True)
                self._stopped.wait(0.5)
                next_status = now()  # the node may have been deleted meanwhile
                continue
            self._stopped.wait(RENEW_SECONDS)

    def stop(self) -> None:
        """End `run`."""
        self._stopped.set()

    def _register(self) -> None:
        name = self._settings.node_name
        if self._client.get(f"/api/v1/nodes/{name}") is None:
            labels = {
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": _architecture(),
            }
            node = {"metadata": {"name": name, "labels": labels}, "status": self._status()}
            self._client.create("/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", **node})
        self._client.patch(f"/api/v1/nodes/{name}/status", {"status": self._status()}, STRATEGIC_PATCH)

    def _status(self) -> Dict:
        addresses = {"InternalIP": "127.0.0.1", "Hostname": self._settings.node_name}
        return {
            "capacity": self._settings.resources,
            "allocatable": self._settings.resources,
            "addresses": [{"type": kind, "address": address} for kind, address in addresses.items()],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": self._log_port}},
            "conditions": [self._condition("Ready", "True", "KubeletReady")]
            + [
                self._condition(kind, "False", "Sufficient")
                for kind in ("MemoryPressure", "DiskPressure", "PIDPressure")
            ],
            "nodeInfo": {
                "kubeletVersion": KUBELET_VERSION,
                "containerRuntimeVersion": "process://1",
                "operatingSystem": "linux",
                "architecture": _architecture(),
                "kernelVersion": platform.release(),
                "osImage": "process",
                "machineID": self._settings.node_name,
                "systemUUID": self._settings.node_name,
                "bootID": str(os.getpid()),
                "kubeProxyVersion": "",
            },
        }

    def _condition(self, kind: str, status: str, reason: str) -> Dict:
        times = {
            "lastHeartbeatTime": seconds_text(now()),
            "lastTransitionTime": seconds_text(self._ready_since),
        }
        return {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": "processes are started here",
            **times,
        }

    def _renew_lease(self) -> None:
        name = self._settings.node_name
        folder = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        spec = {"holderIdentity": name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": micro_text(now())}
        lease = self._client.get(f"{folder}/{name}")
        if lease is None:
            metadata = {"name": name, "namespace": "kube-node-lease"}
            lease = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": metadata,
                "spec": spec,
            }
            self._client.create(folder, lease)
        else:
            self._client.put(f"{folder}/{name}", {**lease, "spec": {**lease["spec"], **spec}})


def _architecture() -> str:
    return ARCHITECTURES.get(platform.machine(), platform.machine())
