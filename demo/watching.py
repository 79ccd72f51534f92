"""The finetunes of a namespace, as the API server tells of them: a watch in a thread, events in a queue.

`live_table` shows what comes out; nothing here prints.
"""

import queue
import threading
import time
from dataclasses import dataclass
from typing import Any

from finetune_api import API_VERSION, PLURAL, FinetuneStatus
from finetune_api.status import Condition
from tests.cluster.client import ApiError, Client, Unreachable

_GONE = 410


@dataclass(frozen=True)
class Finetune:
    """One finetune at one moment."""

    name: str
    generation: int
    status: FinetuneStatus

    def condition(self, kind: str) -> Condition | None:
        """The condition of that type, or None while it is absent."""
        return next((c for c in self.status.conditions if c.type == kind), None)

    def is_true(self, kind: str) -> bool:
        condition = self.condition(kind)
        return condition is not None and condition.status == "True"

    @property
    def is_ready(self) -> bool:
        return self._observed and self.is_true("Ready")

    @property
    def is_settled(self) -> bool:
        """Ready, or nothing more will come of it."""
        return self._observed and (self.is_true("Ready") or self.is_true("Stalled"))

    @property
    def _observed(self) -> bool:
        """What the operator has not seen yet must not pass for done."""
        return self.status.observed_generation == self.generation


def parse_finetune(resource: dict[str, Any]) -> Finetune:
    """An object of the API server as a Finetune."""
    metadata = resource["metadata"]
    status = FinetuneStatus.model_validate(resource.get("status", {}))
    return Finetune(metadata["name"], metadata["generation"], status)


Events = queue.SimpleQueue[Finetune | ApiError]


def follow_finetunes(client: Client, namespace: str) -> Events:
    """A queue into which every finetune of the namespace comes now, and again whenever it changes.

    An answer of the API server that cannot get better by asking again comes as an ApiError, and is the last.
    """
    events: Events = queue.SimpleQueue()
    threading.Thread(target=_follow, args=(client, namespace, events), daemon=True).start()
    return events


def _follow(client: Client, namespace: str, events: Events) -> None:
    """Ends with the process; a broken watch begins again with a list."""
    path = f"/apis/{API_VERSION}/namespaces/{namespace}/{PLURAL}"
    while True:
        try:
            listed = client.list(path)
            for resource in listed["items"]:
                events.put(parse_finetune(resource))
            version = listed["metadata"]["resourceVersion"]
            for event in client.watch(path, resourceVersion=version):
                if event["type"] in {"ADDED", "MODIFIED"}:
                    events.put(parse_finetune(event["object"]))
        except Unreachable:
            time.sleep(1)
        except ApiError as error:
            if error.status != _GONE:
                events.put(error)
                return
