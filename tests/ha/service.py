"""The report Service as kube-proxy would do it, for operators and pods that share the host's network.

Connections go to the pods that the Service's selector finds, to the port that its targetPort names; with none
they are refused. What the chart says about both is read from the API server.
"""

import random
import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from finetune_api import names
from tests.cluster import Cluster
from tests.cluster.ports import reserve
from tests.operator.process import NAMESPACE, RELEASE

PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
SERVICE = f"/api/v1/namespaces/{NAMESPACE}/services/{RELEASE}-reports"
CHUNK = 64 * 1024


class ReportService:
    """A thread for each connection: there are few."""

    def __init__(self, cluster: Cluster, port: int) -> None:
        self._cluster = cluster
        service = cluster.client.get(SERVICE)
        assert service is not None, "the chart has the Service"
        self._labels: dict[str, str] = service["spec"]["selector"]
        self._selector = ",".join(f"{key}={value}" for key, value in self._labels.items())
        self._target = service["spec"]["ports"][0]["targetPort"]
        self._listener = socket.create_server(("127.0.0.1", port), backlog=256)
        self._random = random.Random(0)
        self.url = f"https://127.0.0.1:{port}"
        threading.Thread(target=self._accept, name="service", daemon=True).start()

    def selector_without_leader(self) -> dict[str, str]:
        """The labels that every pod of the Deployment has."""
        return {key: value for key, value in self._labels.items() if key != names.LABEL_LEADER}

    def endpoints(self) -> dict[str, int]:
        """Name of each pod behind the Service, and its port."""
        pods = self._cluster.client.list(PODS, labelSelector=self._selector)["items"]
        return {pod["metadata"]["name"]: self._port_of(pod) for pod in pods}

    def _port_of(self, pod: dict[str, Any]) -> int:
        (port,) = (p for p in pod["spec"]["containers"][0]["ports"] if p["name"] == self._target)
        return int(port["containerPort"])

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            if not (ports := sorted(self.endpoints().values())):
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._random.choice(ports)), timeout=5)
            except OSError:
                return
            with server:
                _join(client, server)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def _join(one: socket.socket, other: socket.socket) -> None:
    """Pass bytes on until either side ends or breaks."""
    with selectors.DefaultSelector() as selector:
        selector.register(one, selectors.EVENT_READ, other)
        selector.register(other, selectors.EVENT_READ, one)
        while True:
            for key, _ in selector.select():
                try:
                    content = key.fileobj.recv(CHUNK)  # type: ignore[union-attr]
                    if not content:
                        return
                    key.data.sendall(content)
                except OSError:
                    return


@contextmanager
def report_service(cluster: Cluster) -> Iterator[ReportService]:
    with reserve(1) as (port,):
        service = ReportService(cluster, port)
        try:
            yield service
        finally:
            service.close()
