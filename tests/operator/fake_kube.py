"""An API server in memory, for faults that the real one cannot be made to show. Versions count."""

import copy
import itertools
from collections.abc import Callable
from typing import Any

from finetune_operator.kube import Conflict

Dict = dict[str, Any]


class FakeKube:
    """The methods of `Kube` over a dict. `before` is called ahead of every request and may raise."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Dict] = {}
        self.requests: list[tuple[str, str]] = []
        self.before: Callable[[str, str], None] = lambda _verb, _kind: None
        self.reviews: dict[str, Dict] = {}
        self._numbers = itertools.count(1)

    def add(self, manifest: Dict) -> Dict:
        """Put an object there, as if somebody else had."""
        stored = copy.deepcopy(manifest)
        metadata = stored["metadata"]
        metadata.setdefault("uid", f"uid-{next(self._numbers)}")
        metadata["resourceVersion"] = str(next(self._numbers))
        self.objects[
            stored["kind"], metadata["namespace"], metadata.get("name", f"{next(self._numbers)}")
        ] = stored
        return copy.deepcopy(stored)

    def get(self, kind: str, namespace: str, name: str) -> Dict | None:
        self._request("get", kind)
        return copy.deepcopy(self.objects.get((kind, namespace, name)))

    def list(self, kind: str, namespace: str, *, labels: str = "", fields: str = "") -> tuple[Dict, ...]:
        self._request("list", kind)
        key, _, value = labels.partition("=")
        _, _, uid = fields.partition("=")
        found = [o for (k, n, _), o in self.objects.items() if (k, n) == (kind, namespace)]
        found = [o for o in found if not key or o["metadata"].get("labels", {}).get(key) == value]
        found = [o for o in found if not uid or o.get("involvedObject", {}).get("uid") == uid]
        return tuple(copy.deepcopy(found))

    def create(self, manifest: Dict) -> Dict:
        self._request("create", manifest["kind"])
        metadata = manifest["metadata"]
        if (manifest["kind"], metadata["namespace"], metadata.get("name", "")) in self.objects:
            raise Conflict(f"{metadata['name']} exists")
        return self.add(manifest)

    def replace(self, manifest: Dict) -> Dict:
        self._request("update", manifest["kind"])
        self._check_version(manifest)
        return self.add(manifest)

    def put_status(self, manifest: Dict) -> Dict:
        self._request("update", manifest["kind"])
        stored = self._check_version(manifest)
        return self.add({**stored, "status": manifest["status"]})

    def delete(self, kind: str, namespace: str, name: str, *, uid: str) -> None:
        self._request("delete", kind)
        stored = self.objects.get((kind, namespace, name))
        if stored is None:
            return
        if stored["metadata"]["uid"] != uid:
            raise Conflict("precondition failed: uid")
        del self.objects[kind, namespace, name]

    def label(self, kind: str, namespace: str, name: str, labels: dict[str, str | None]) -> None:
        self._request("patch", kind)
        stored = self.objects[kind, namespace, name]["metadata"].setdefault("labels", {})
        for key, value in labels.items():
            stored.pop(key, None) if value is None else stored.update({key: value})

    def review_token(self, token: str, audience: str) -> Dict:
        self._request("create", "TokenReview")
        return self.reviews.get(token, {"authenticated": False, "audiences": [audience]})

    def _request(self, verb: str, kind: str) -> None:
        self.requests.append((verb, kind))
        self.before(verb, kind)

    def _check_version(self, manifest: Dict) -> Dict:
        metadata = manifest["metadata"]
        stored = self.objects.get((manifest["kind"], metadata["namespace"], metadata["name"]))
        if stored is None or stored["metadata"]["resourceVersion"] != metadata["resourceVersion"]:
            raise Conflict(f"{metadata['name']} has changed")
        return stored
