"""Everything that happens to finetunes, Jobs, pods and ConfigMaps, seen through watches of our own."""

import contextlib
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

from finetune_api import names
from tests.cluster.client import ApiError, Client, Unreachable
from tests.cluster.waiting import eventually

PATHS = {
    "finetune": f"/apis/{names.API_VERSION}/{names.PLURAL}",
    "job": "/apis/batch/v1/jobs",
    "pod": "/api/v1/pods",
}


@dataclass(frozen=True)
class Change:
    """One event of a watch."""

    kind: str
    """finetune, job or pod."""
    type: str
    """ADDED, MODIFIED or DELETED."""
    thing: dict[str, Any]
    at: float
    """On the monotonic clock."""


def _present_version(client: Client, path: str) -> str:
    """Of a resource that may have been defined just now."""

    def version() -> str:
        with contextlib.suppress(ApiError):
            return str(client.list(path, limit="1")["metadata"]["resourceVersion"])
        return ""

    return eventually(version, f"a list of {path}")


class Recorder:
    """Watches a whole cluster and keeps what it saw by namespace, each kind in its order."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._changes: dict[str, list[Change]] = defaultdict(list)
        for kind, path in PATHS.items():
            selector = {} if kind == "finetune" else {"labelSelector": names.LABEL_FINETUNE}
            arguments = (kind, path, _present_version(client, path), selector)
            threading.Thread(target=self._watch, args=arguments, name=f"record {kind}s", daemon=True).start()

    def of(self, namespace: str, kind: str) -> list[Change]:
        """What happened to that kind there, oldest first."""
        return [change for change in tuple(self._changes[namespace]) if change.kind == kind]

    def forget(self, namespace: str) -> None:
        self._changes.pop(namespace, None)

    def _watch(self, kind: str, path: str, since: str, selector: dict[str, str]) -> None:
        """Until the cluster is gone."""
        while True:
            try:
                for event in self._client.watch(path, resourceVersion=since, **selector):
                    thing = event["object"]
                    since = thing["metadata"]["resourceVersion"]
                    if event["type"] != "BOOKMARK":
                        change = Change(kind, event["type"], thing, time.monotonic())
                        self._changes[thing["metadata"]["namespace"]].append(change)
            except (ApiError, Unreachable):
                return
