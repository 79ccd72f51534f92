"""The node's process: registers, hears of pods bound to it, and gives each one a worker."""

import queue
import signal
import threading
import time
from pathlib import Path

from tests.cluster.binaries import require_program
from tests.cluster.client import Client, Dict
from tests.cluster.node.informer import Informer
from tests.cluster.node.launch import Launcher
from tests.cluster.node.logs import LogServer
from tests.cluster.node.pod import PodWorker
from tests.cluster.node.registration import Registration
from tests.cluster.node.storage import Provisioner
from tests.cluster.state import Folder, Settings

# Less than the supervisor's patience; whoever takes the cluster down does not wait for a pod's grace.
END_SECONDS = 6.0


class Agent:
    """Composition root of the node; `run` returns after SIGTERM."""

    def __init__(self, folder: Folder, server: str, settings: Settings) -> None:
        self._folder = folder
        self._settings = settings
        self._client = Client(server, folder.pki, "node")
        host, _, port = server.removeprefix("https://").partition(":")
        self._launcher = Launcher(require_program("bwrap", "bubblewrap"), settings.path, host, port)
        self._workers: dict[str, PodWorker] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._lock = threading.Lock()
        self._logs = LogServer(folder.pki, self._find)
        self._registration = Registration(self._client, settings, self._logs.port)
        self._provisioner = Provisioner(Client(server, folder.pki, "provisioner"), folder.volumes)

    def run(self) -> None:
        """Work until told to stop, then end every pod's processes."""
        told: queue.SimpleQueue[int] = queue.SimpleQueue()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda number, _frame: told.put(number))
        self._logs.start()
        threading.Thread(target=self._registration.run, daemon=True).start()
        self._provisioner.start()
        selector = f"spec.nodeName={self._settings.node_name}"
        Informer(self._client, "/api/v1/pods", self._pod_changed, fieldSelector=selector).start()
        told.get()
        self._registration.stop()
        self._end_pods()

    def _pod_changed(self, pod: Dict, exists: bool) -> None:
        uid = pod["metadata"]["uid"]
        with self._lock:
            worker = self._workers.get(uid)
            if not exists:
                if worker is not None:
                    worker.vanish()
                    del self._workers[uid]
                return
            if worker is None:
                worker = self._workers[uid] = PodWorker(
                    pod, self._client, self._launcher, self._folder.pods / uid
                )
                self._threads[uid] = threading.Thread(target=self._work, args=(uid, worker), daemon=True)
                self._threads[uid].start()
        if "deletionTimestamp" in pod["metadata"]:
            worker.terminate(float(pod["metadata"].get("deletionGracePeriodSeconds") or 0))

    def _work(self, uid: str, worker: PodWorker) -> None:
        try:
            worker.run()
        finally:
            with self._lock:
                self._threads.pop(uid, None)

    def _find(self, namespace: str, name: str) -> PodWorker | None:
        with self._lock:
            found = [
                each for each in self._workers.values() if (each.namespace, each.name) == (namespace, name)
            ]
        return found[-1] if found else None

    def _end_pods(self) -> None:
        with self._lock:
            threads = list(self._threads.values())
            for worker in self._workers.values():
                worker.vanish()
        deadline = time.monotonic() + END_SECONDS
        for thread in threads:
            thread.join(max(deadline - time.monotonic(), 0))


def run_agent(folder: Path, server: str, settings: Settings) -> None:
    """The whole life of the node's process."""
    Agent(Folder(folder), server, settings).run()
