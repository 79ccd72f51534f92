"""Tells the API server about one pod: its status, its warnings, and that it may be removed now."""

import time
from collections.abc import Callable, Sequence

from tests.cluster.client import STRATEGIC_PATCH, ApiError, Client, Dict, Unreachable
from tests.cluster.node.status import ContainerView, build_status, with_times
from tests.cluster.node.times import now, seconds_text

RETRY_SECONDS = 0.5
# Answers that another try does not change: the object is gone, or another one has its name now.
FINAL = (404, 409, 422)


class Reporter:
    """Writes nothing that is already known; tries again while the API server cannot be reached."""

    def __init__(self, client: Client, pod: Dict) -> None:
        self._client = client
        self._metadata: Dict = pod["metadata"]
        self._node = pod["spec"]["nodeName"]
        self._path = f"/api/v1/namespaces/{self._metadata['namespace']}/pods/{self._metadata['name']}"
        self._started_at = now()
        self._written: Dict = {}
        self._warned: set[str] = set()

    def publish(
        self,
        inits: Sequence[ContainerView],
        mains: Sequence[ContainerView],
        *,
        phase: str,
        volumes_ready: bool,
    ) -> None:
        """Bring the pod's status up to date."""
        bare = build_status(
            inits, mains, phase=phase, started_at=self._started_at, volumes_ready=volumes_ready
        )
        status = with_times(bare, self._written, now())
        if status == self._written:
            return
        body = {"metadata": {"uid": self._metadata["uid"]}, "status": status}
        self._persist(lambda: self._client.patch(f"{self._path}/status", body, STRATEGIC_PATCH))
        self._written = status

    def confirm_deletion(self) -> None:
        """Nothing of the pod runs any more: let the object go, when its finalizers allow it."""
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": self._metadata["uid"]}}
        self._persist(lambda: self._client.delete(self._path, options))

    def warn(self, reason: str, message: str) -> None:
        """A Warning event, once for each text."""
        if message in self._warned:
            return
        self._warned.add(message)
        name, namespace, uid = (self._metadata[key] for key in ("name", "namespace", "uid"))
        moment = seconds_text(now())
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": f"{name}.{time.time_ns():x}", "namespace": namespace},
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "Pod",
                "name": name,
                "namespace": namespace,
                "uid": uid,
            },
            "reason": reason,
            "message": message[:1024],
            "type": "Warning",
            "source": {"component": "kubelet", "host": self._node},
            "reportingComponent": "kubelet",
            "firstTimestamp": moment,
            "lastTimestamp": moment,
            "count": 1,
        }
        try:
            self._client.create(f"/api/v1/namespaces/{namespace}/events", event)
        except (ApiError, Unreachable) as error:
            print(f"{namespace}/{name}: event {reason} not written: {error}", flush=True)

    def _persist(self, write: Callable[[], object]) -> None:
        while True:
            try:
                write()
            except ApiError as error:
                if error.status in FINAL:
                    return
                print(f"{self._path}: {error}", flush=True)
            except Unreachable as error:
                print(error, flush=True)
            else:
                return
            time.sleep(RETRY_SECONDS)
