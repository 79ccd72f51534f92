"""Picking objects out of a rendered chart."""

from typing import Any


def of_kind(objects: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [o for o in objects if o["kind"] == kind]


def the(objects: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    """The one object of this kind and name."""
    (found,) = (o for o in of_kind(objects, kind) if o["metadata"]["name"] == name)
    return found


def container(objects: list[dict[str, Any]]) -> dict[str, Any]:
    """The operator's container."""
    (deployment,) = of_kind(objects, "Deployment")
    (only,) = deployment["spec"]["template"]["spec"]["containers"]
    return dict(only)
