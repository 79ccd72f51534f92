"""What to do about one finetune: the status it should have, and what to create or delete.

`reconcile` observes, asks here, and acts. Nothing in here reads a cluster or a clock.
"""

from dataclasses import dataclass
from typing import Any, Literal

from finetune_operator.observed import LiveProgress, Object, Observed

__all__ = ["Deletion", "LiveProgress", "Observed", "Plan"]


@dataclass(frozen=True)
class Deletion:
    """An object to delete in the foreground, only if it still has this uid."""

    kind: Literal["Job", "ConfigMap"]
    namespace: str
    name: str
    uid: str


@dataclass(frozen=True)
class Plan:
    """Acted on in this order: delete, create, status. Once applied, the next plan changes nothing."""

    status: dict[str, Any]
    """The status it should have; equal to the present one when nothing has changed."""
    create: tuple[Object, ...] = ()
    delete: tuple[Deletion, ...] = ()
    requeue_after_seconds: float | None = None
