"""List, watch, list again: every state of some objects reaches the listener, if not every step."""

import threading
import time
from collections.abc import Callable

from tests.cluster.client import ApiError, Client, Dict, Unreachable

RETRY_SECONDS = 0.5
Listener = Callable[[Dict, bool], None]
"""(object, whether it exists)."""


class Informer:
    """Runs on a thread of its own until the process ends."""

    def __init__(self, client: Client, path: str, listener: Listener, **query: str) -> None:
        self._client = client
        self._path = path
        self._listener = listener
        self._query = query
        self._known: dict[str, Dict] = {}

    def start(self) -> None:
        """Begin to listen."""
        threading.Thread(target=self._run, name=f"informer {self._path}", daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                version = self._list()
                while True:
                    version = self._watch(version)
            except (ApiError, Unreachable) as error:
                print(f"informer: {error}; listing again", flush=True)
                time.sleep(RETRY_SECONDS)

    def _list(self) -> str:
        answer = self._client.list(self._path, **self._query)
        found = {item["metadata"]["uid"]: item for item in answer["items"]}
        for uid in self._known.keys() - found.keys():
            self._listener(self._known[uid], False)
        for item in found.values():
            self._listener(item, True)
        self._known = found
        return str(answer["metadata"]["resourceVersion"])

    def _watch(self, version: str) -> str:
        for event in self._client.watch(self._path, resourceVersion=version, **self._query):
            item = event["object"]
            version = item["metadata"]["resourceVersion"]
            if event["type"] == "BOOKMARK":
                continue
            exists = event["type"] != "DELETED"
            if exists:
                self._known[item["metadata"]["uid"]] = item
            else:
                self._known.pop(item["metadata"]["uid"], None)
            self._listener(item, exists)
        return version
