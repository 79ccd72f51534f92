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
SEAT = "example.com/seat"
"""A resource of which the node has one, to be fought for."""
# The node controller takes a node for lost that has not renewed its Lease for 50 s.
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
    stopped: threading.Event
    name: str = NODE

    def fall_silent(self) -> None:
        """No longer renew its Lease: the node controller gives it up after 50 s."""
        self.stopped.set()

    def set_container(self, pod: Object, phase: str = "Pending", **state: Object) -> None:
        """State of the trainer's container: `waiting`, `running` or `terminated`."""
        self.set_status(pod, phase=phase, containerStatuses=[_container(**state)])

    def set_status(self, pod: Object, **status: Any) -> None:
        """Patch the pod's status, conditions by their type."""
        self.client.patch(f"{path_of(pod)}/status", {"status": status}, STRATEGIC_PATCH)

    def run(self, pod: Object) -> None:
        """Its trainer has begun."""
        self.set_container(pod, "Running", running={"startedAt": _now()})

    def end(self, pod: Object, code: int, reason: str = "Error", message: str = "") -> None:
        """Its trainer has ended, and with it the pod."""
        self.set_status(pod, **_ended(code, reason, message))

    def evict(self, pod: Object, message: str) -> None:
        """As a kubelet does that is short of something, all in one write."""
        condition = {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet"}
        status = _ended(137, "Error", "") | {
            "conditions": [condition],
            "reason": "Evicted",
            "message": message,
        }
        self.set_status(pod, **status)

    def let_go(self, pod: Object) -> None:
        """The pod, which is to be deleted, has ended: its object may go."""
        self.end(pod, 143)
        self.client.delete(path_of(pod), {"gracePeriodSeconds": 0})

    def drive_away(self) -> None:
        """Taint it, so that Kubernetes takes its pods off."""
        taints = [_TAINT, {"key": "example.com/repair", "effect": "NoExecute"}]
        self.client.patch(f"/api/v1/nodes/{self.name}", {"spec": {"taints": taints}}, STRATEGIC_PATCH)

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
    resources = {"cpu": "100", "memory": "100Gi", "pods": "100", RESOURCE: str(capacity), SEAT: "1"}
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": _now()}
    status = {"capacity": resources, "allocatable": resources, "conditions": [ready]}
    client.patch(f"/api/v1/nodes/{NODE}/status", {"status": status}, STRATEGIC_PATCH)
    try:
        eventually(lambda: _is_taken_for_ready(client), "the new node is taken for ready")
        yield PlayedNode(client, stopped)
    finally:
        stopped.set()
        life.join()
        client.delete(f"/api/v1/nodes/{NODE}")


def _ended(code: int, reason: str, message: str) -> Object:
    times = {"startedAt": _now(), "finishedAt": _now()}
    ended = {"exitCode": code, "reason": reason, "message": message, **times}
    return {"phase": "Failed", "containerStatuses": [_container(terminated=ended)]}


def _container(**state: Object) -> Object:
    ready = "running" in state
    return {
        "name": "trainer", "image": "any", "imageID": "", "ready": ready, "restartCount": 0, "state": state,
    }  # fmt: skip


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
