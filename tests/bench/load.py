"""Finetunes by the thousand: applied as users would, watched, and their pods ended as a kubelet would."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from finetune_api import names
from finetune_api.run_file import CONTAINER
from finetune_operator.decisions.running_rules import RUNNING
from tests.api.specs import a_finetune, a_spec
from tests.cluster import Cluster
from tests.cluster.client import Client, Unreachable
from tests.operator.fake_trainer import measured

THREADS = 8
METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
TABLE = "application/json;as=Table;g=meta.k8s.io;v=v1"
PHASE_COLUMN = 1
PAGE_SIZE = "1000"
PROGRESS_SECONDS = 5.0
# Neither a GPU nor a claim: nothing keeps a pod back.
SOURCES = ("train.0", "eval.0", "eval.1.queries", "eval.1.corpus", "eval.1.qrels")
CHANGES = {f"data.{source}.uri": "https://example.com/data.csv" for source in SOURCES} | {
    "output.uri": "s3://models/one",
    "runtime.gpusPerNode": 0,
}
LINEAGE = {
    "model": "0" * 40, "trainData": "sha256:1", "evalData": "sha256:2", "seed": 42, "miniBatchSize": 64,
    "image": "trainer",
}  # fmt: skip

Report = Callable[[str], None]


class Load:
    """The finetunes of one namespace, and when things happened to them, on the monotonic clock."""

    def __init__(self, cluster: Cluster, namespace: str, report: Report) -> None:
        self.client = cluster.client
        self.namespace = namespace
        self.applied: dict[str, float] = {}
        self.uids: dict[str, str] = {}
        self.jobs: dict[str, float] = {}
        self.pods: dict[str, dict[str, Any]] = {}
        """Metadata, by finetune."""
        self._report = report
        self._finetunes = f"/apis/{names.API_VERSION}/namespaces/{namespace}/{names.PLURAL}"
        self._pods = f"/api/v1/namespaces/{namespace}/pods"
        self.client.create("/api/v1/namespaces", {"metadata": {"name": namespace}})
        self._watch(f"/apis/batch/v1/namespaces/{namespace}/jobs", self._see_job)
        self._watch(self._pods, self._see_pod)

    def apply(self, wanted: Sequence[str]) -> None:
        """As fast as a few clients can."""
        with ThreadPoolExecutor(THREADS) as threads:
            for _ in threads.map(self._apply, wanted):
                pass

    def await_jobs(self, wanted: Sequence[str], seconds: float) -> None:
        self._await(lambda: sum(name in self.jobs for name in wanted), len(wanted), "Jobs", seconds)

    def await_running(self, wanted: Sequence[str], seconds: float) -> None:
        """Until every finetune says that its trainer is at work."""
        self._await(lambda: sum(name in self.pods for name in wanted), len(wanted), "pods", seconds)
        self._await(lambda: self._reasons().count(RUNNING), len(wanted), "finetunes Running", seconds)

    def await_ready(self, count: int, seconds: float) -> None:
        """Until so many finetunes show the phase Ready."""
        self._await(lambda: self._phases().count("Ready"), count, "finetunes Ready", seconds)

    def end(self, wanted: Sequence[str]) -> None:
        """Have each pod leave its Report and succeed."""
        with ThreadPoolExecutor(THREADS) as threads:
            for _ in threads.map(self._end, wanted):
                pass

    def _apply(self, name: str) -> None:
        spec = a_spec(CHANGES)
        self.applied[name] = time.monotonic()
        made = self.client.create(self._finetunes, a_finetune(spec, name))
        self.uids[name] = made["metadata"]["uid"]

    def _end(self, name: str) -> None:
        found = {"uid": self.uids[name], "run": 1, "measured": measured(passed=True), "lineage": LINEAGE}
        text = json.dumps({"version": 1, "outcome": "Succeeded", **found})
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        ended = {"exitCode": 0, "reason": "Completed", "message": text, "startedAt": now, "finishedAt": now}
        state = {"name": CONTAINER, "image": "trainer", "imageID": "", "ready": False, "restartCount": 0}
        status = {"phase": "Succeeded", "containerStatuses": [{**state, "state": {"terminated": ended}}]}
        self.client.patch(f"{self._pods}/{self.pods[name]['name']}/status", {"status": status})

    def _reasons(self) -> list[str]:
        """Of the condition Reconciling, where it is True."""
        conditions = [c for item in self._pages() for c in item.get("status", {}).get("conditions", [])]
        return [c["reason"] for c in conditions if (c["type"], c["status"]) == ("Reconciling", "True")]

    def _phases(self) -> list[str]:
        """From the table that kubectl gets: far smaller than the objects."""
        return [str(row["cells"][PHASE_COLUMN]) for row in self._pages(accept=TABLE, includeObject="None")]

    def _pages(self, **query: str) -> Iterator[dict[str, Any]]:
        token = ""
        while True:
            page = self.client.list(self._finetunes, limit=PAGE_SIZE, **query, **{"continue": token})
            yield from page.get("items") or page.get("rows") or []
            token = page["metadata"].get("continue", "")
            if not token:
                return

    def _await(self, count: Callable[[], int], wanted: int, what: str, seconds: float) -> None:
        """Looks that take long are made less often: they cost the API server too."""
        began = told = time.monotonic()
        while True:
            asked = time.monotonic()
            found = count()
            now = time.monotonic()
            if found >= wanted:
                return
            if now - began > seconds:
                raise TimeoutError(f"{found} of {wanted} {what} after {seconds:.0f} s")
            if now - told > PROGRESS_SECONDS:
                self._report(f"  {found} of {wanted} {what}, {now - began:.0f} s")
                told = now
            time.sleep(max(0.02, 5 * (now - asked)))

    def _see_job(self, metadata: dict[str, Any]) -> None:
        self.jobs.setdefault(metadata["labels"][names.LABEL_FINETUNE], time.monotonic())

    def _see_pod(self, metadata: dict[str, Any]) -> None:
        self.pods[metadata["labels"][names.LABEL_FINETUNE]] = metadata

    def _watch(self, path: str, see: Callable[[dict[str, Any]], None]) -> None:
        """From now on, in a thread that ends with the process."""
        version = self.client.list(path, limit="1")["metadata"]["resourceVersion"]
        arguments = (self.client, path, version, see)
        threading.Thread(target=_follow, args=arguments, daemon=True, name=path).start()


def _follow(client: Client, path: str, version: str, see: Callable[[dict[str, Any]], None]) -> None:
    while True:
        try:
            for event in client.watch(path, accept=METADATA_ONLY, resourceVersion=version):
                metadata = event["object"]["metadata"]
                version = metadata["resourceVersion"]
                if event["type"] == "ADDED" and names.LABEL_FINETUNE in metadata.get("labels", {}):
                    see(metadata)
        except Unreachable:
            return  # the cluster was stopped
