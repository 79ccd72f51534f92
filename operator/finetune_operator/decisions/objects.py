"""Reading Kubernetes objects: the few questions that are asked of every kind."""

from datetime import UTC, datetime
from typing import Any

from finetune_api import names
from finetune_operator.decisions.observed import Object


def name_of(thing: Object) -> str:
    return str(thing["metadata"]["name"])


def namespace_of(thing: Object) -> str:
    return str(thing["metadata"]["namespace"])


def uid_of(thing: Object) -> str:
    return str(thing["metadata"]["uid"])


def is_being_deleted(thing: Object) -> bool:
    return thing["metadata"].get("deletionTimestamp") is not None


def deleted_by(thing: Object) -> datetime | None:
    """When it is to be gone, its grace included; None for what is to stay."""
    return parse_time(thing["metadata"].get("deletionTimestamp"))


def is_controlled_by(thing: Object, uid: str) -> bool:
    """Whether the object of that uid is the controller of this one."""
    owners = thing["metadata"].get("ownerReferences") or []
    return any(owner.get("controller") and owner.get("uid") == uid for owner in owners)


def is_left_by_namesake(thing: Object, finetune: Object) -> bool:
    """Whether it belongs to a finetune that had this one's name before: garbage that will be collected."""
    owners = thing["metadata"].get("ownerReferences") or []
    found = {(o.get("kind"), o.get("name")) for o in owners if o.get("controller")}
    return (names.KIND, name_of(finetune)) in found and not is_controlled_by(thing, uid_of(finetune))


def true_condition(thing: Object, type_: str) -> dict[str, Any] | None:
    """The condition of this type, if it is there and True."""
    conditions = (thing.get("status") or {}).get("conditions") or []
    return next((c for c in conditions if c.get("type") == type_ and c.get("status") == "True"), None)


def created_at(thing: Object) -> datetime | None:
    return parse_time(thing["metadata"].get("creationTimestamp"))


def status_written_at(thing: Object) -> datetime | None:
    """When its status was last written, as the API server keeps it for every writer."""
    fields = thing["metadata"].get("managedFields") or []
    times = [parse_time(entry.get("time")) for entry in fields if entry.get("subresource") == "status"]
    return max((t for t in times if t), default=None)


def parse_time(text: str | None) -> datetime | None:
    """An RFC 3339 time, in UTC; None for what is none."""
    try:
        time = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)


def format_time(time: datetime) -> str:
    """RFC 3339 in whole seconds, as the API server writes it."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
