"""Objects as they are kept in memory: without what nobody reads, and with words shared among thousands.

A pod as it comes from JSON takes 16 KiB, most of it for keys that every other pod has too.
"""

import sys
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from finetune_api import names
from finetune_operator.decisions.observed import Object

# What `kubectl apply` notes down: the whole spec once more.
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
# What decisions ask the specs of children for; the rest is for others to read.
_SPECS = {"Job": {"suspend"}, "Pod": {"nodeName", "schedulingGates"}}
_OF_CONTAINERS = {"name", "image", "resources"}
_LONGEST_SHARED = 48


def trimmed(thing: Mapping[str, Any]) -> Object:
    """A copy for `Memory` and `Views`. Decisions must not read what is left out here."""
    kind = thing.get("kind") or ""
    kept = {**thing, "metadata": _metadata(kind, thing["metadata"])}
    if (parts := _SPECS.get(kind)) and (spec := thing.get("spec")):
        kept["spec"] = _spec(spec, parts)
    shared: Object = _share(kept)
    return shared


def _metadata(kind: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Of managed fields, when a finetune's status was written."""
    kept = dict(metadata)
    managed = kept.pop("managedFields", None) or ()
    if kind == names.KIND:
        writes = [each.get("time") for each in managed if each.get("subresource") == "status"]
        kept["managedFields"] = [{"subresource": "status", "time": time} for time in writes]
    if _LAST_APPLIED in (annotations := kept.get("annotations") or {}):
        kept["annotations"] = {k: v for k, v in annotations.items() if k != _LAST_APPLIED}
    return kept


def _spec(spec: Mapping[str, Any], parts: AbstractSet[str]) -> dict[str, Any]:
    kept = {part: value for part, value in spec.items() if part in parts}
    if containers := spec.get("containers"):
        kept["containers"] = [
            {part: value for part, value in container.items() if part in _OF_CONTAINERS}
            for container in containers
        ]
    return kept


def _share(value: Any) -> Any:
    if isinstance(value, dict):
        return {sys.intern(key): _share(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_share(each) for each in value]
    if isinstance(value, str) and len(value) <= _LONGEST_SHARED:
        return sys.intern(value)
    return value
