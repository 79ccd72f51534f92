"""A node without a kubelet: the test itself writes what one would, for pods that no machine here could have.

Only pods that tolerate its taint and ask for its resource come here: those with the settings HERE.
"""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from tests.cluster.client import STRATEGIC_PATCH, Client
from tests.cluster.waiting import eventually

NODE = "played"
RESOURCE = "example.com/played"
# The node controller takes a node for lost that has not renewed its Lease for 40 s.
RENEW_SECONDS = 10.0
Object = dict[str, Any]
_TAINT = {"key": "example.com/played", "effect": "NoSchedule"}
HERE = {
    "runtime_gpuResourceName": RESOURCE,
    "runtime_gpusPerNode": 1,
    "runtime_pod_tolerations": [{**_TAINT, "operator": "Exists"}],
}
"""Of a finetune, as for `Finetunes.apply`, whose pod comes here."""


@dataclass(frozen=True)
class PlayedNode:
    """Its name, and the kubelet's part."""

    client: Client
    name: str = NODE

    def set_container(self, pod: Object, phase: str = "Pending", **state: Object) -> None:
        """State of the trainer's container: `waiting`, `running` or `terminated`."""
        container = {
            "name": "trainer", "image": "any", "imageID": "", "ready": "running" in state, "restartCount": 0,
            "state": state,
        }  # fmt: skip
        self.set_status(pod, phase=phase, containerStatuses=[container])

    def set_status(self, pod: Object, **status: Any) -> None:
        """Patch the pod's status, conditions by their type."""
        self.client.patch(f"{path_of(pod)}/status", {"status": status}, STRATEGIC_PATCH)

    def let_go(self, pod: Object) -> None:
        """The pod, which is to be deleted, has ended: its object may go."""
        self.client.delete(path_of(pod), {"gracePeriodSeconds": 0})

    def post_event(self, pod: Object, reason: str, message: str, type_: str = "Warning") -> None:
        """An Event about the pod, as the kubelet writes it."""
        metadata = pod["metadata"]
        about = {key: metadata[key] for key in ("name", "namespace", "uid")}
        event = {
            "metadata": {"generateName": f"{metadata['name']}."},
            "involvedObject": {"apiVersion": "v1", "kind": "Pod", **about},
            "reason": reason, "message": message, "type": type_, "source": {"component": "kubelet"},
            "firstTimestamp": _now(), "lastTimestamp": _now(), "count": 1,
        }  # fmt: skip
        self.client.create(f"/api/v1/namespaces/{metadata['namespace']}/events", event)


@contextlib.contextmanager
def played_node(client: Client, capacity: int = 100) -> Iterator[PlayedNode]:
    """A ready node that is there, and seems alive, for as long as the context lasts."""
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}, "spec": {"taints": [_TAINT]}}
    client.create("/api/v1/nodes", node)
    stopped = threading.Event()
    life = threading.Thread(target=_seem_alive, args=(client, stopped), daemon=True)
    life.start()
    resources = {"cpu": "100", "memory": "100Gi", "pods": "100", RESOURCE: str(capacity)}
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": _now()}
    status = {"capacity": resources, "allocatable": resources, "conditions": [ready]}
    client.patch(f"/api/v1/nodes/{NODE}/status", {"status": status}, STRATEGIC_PATCH)
    try:
        eventually(lambda: _is_taken_for_ready(client), "the new node is taken for ready")
        yield PlayedNode(client)
    finally:
        stopped.set()
        life.join()
        client.delete(f"/api/v1/nodes/{NODE}")


def path_of(pod: Object) -> str:
    return f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods/{pod['metadata']['name']}"


def _is_taken_for_ready(client: Client) -> bool:
    taints = (client.get(f"/api/v1/nodes/{NODE}") or {})["spec"].get("taints", [])
    return [taint["key"] for taint in taints] == [_TAINT["key"]]


def _seem_alive(client: Client, stopped: threading.Event) -> None:
    leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
    while True:
        moment = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        spec = {"holderIdentity": NODE, "leaseDurationSeconds": 40, "renewTime": moment}
        if client.get(f"{leases}/{NODE}") is None:
            client.create(leases, {"metadata": {"name": NODE}, "spec": spec})
        else:
            client.patch(f"{leases}/{NODE}", {"spec": spec})
        if stopped.wait(RENEW_SECONDS):
            return


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
