"""Objects as they are kept in memory: without what nobody reads, and with words shared among thousands.

A pod as it comes from JSON takes 16 KiB, most of it for keys that every other pod has too.
"""

import sys
from collections.abc import Mapping
from typing import Any

from finetune_api import names
from finetune_operator.decisions.observed import Object

# What `kubectl apply` notes down: the whole spec once more.
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
# Of a pod's containers; what is run and how is for the node to read.
_OF_CONTAINERS = {"args", "command", "env", "envFrom", "securityContext", "volumeMounts"}
_LONGEST_SHARED = 48


def trimmed(thing: Mapping[str, Any]) -> Object:
    """A copy for `Memory` and `Views`. Decisions must not read what is left out here."""
    kept = {**thing, "metadata": _metadata(thing["metadata"])}
    if thing.get("kind") != names.KIND and (spec := thing.get("spec")):
        kept["spec"] = _spec(spec)
    shared: Object = _share(kept)
    return shared


def _metadata(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Of managed fields, who wrote and when."""
    kept = dict(metadata)
    if managed := kept.get("managedFields"):
        kept["managedFields"] = [{k: v for k, v in each.items() if k != "fieldsV1"} for each in managed]
    if _LAST_APPLIED in (annotations := kept.get("annotations") or {}):
        kept["annotations"] = {k: v for k, v in annotations.items() if k != _LAST_APPLIED}
    return kept


def _spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Of a Job without its template, of a pod without what only its node needs."""
    kept = {k: v for k, v in spec.items() if k not in {"template", "volumes", "tolerations"}}
    if containers := kept.get("containers"):
        kept["containers"] = [
            {k: v for k, v in container.items() if k not in _OF_CONTAINERS} for container in containers
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
