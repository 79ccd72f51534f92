"""Two states of one object: which is the newer one, and whether it says anything new."""

from collections.abc import Mapping
from typing import Any

from finetune_operator.decisions.observed import Object

# Nothing is decided by these, so a change of them alone is no news.
_VOLATILE_METADATA = ("resourceVersion", "managedFields", "generation")
_VOLATILE_STATUS = ("ready", "uncountedTerminatedPods", "observedGeneration")


def is_newer(thing: Mapping[str, Any], known: Object) -> bool:
    """Versions are numbers that grow over all objects; where they are not, the last one told is believed."""
    version, before = (str(each["metadata"].get("resourceVersion")) for each in (thing, known))
    if version.isdecimal() and before.isdecimal():
        return int(version) > int(before)
    return version != before


def newer(known: Object | None, thing: Object) -> Object:
    return thing if known is None or is_newer(thing, known) else known


def essence(thing: Object) -> tuple[dict[str, Any], ...]:
    """Equal for two states between which no decision can differ."""
    metadata = {k: v for k, v in thing["metadata"].items() if k not in _VOLATILE_METADATA}
    status = {k: v for k, v in (thing.get("status") or {}).items() if k not in _VOLATILE_STATUS}
    rest = {k: v for k, v in thing.items() if k not in {"metadata", "status"}}
    return metadata, status, rest
