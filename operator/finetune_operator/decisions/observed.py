"""What one look at the cluster found, frozen: the only input of `plan` besides the settings.

`reconcile` fills it; nothing in here reads a cluster or a clock.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from finetune_api.report import Report
from finetune_api.status import Phase, Progress
from finetune_operator.errors import Stalled, Waiting

Object = dict[str, Any]
"""A Kubernetes object as the API server returns it."""


@dataclass(frozen=True)
class LiveProgress:
    """The newest progress report of a run, as received over HTTPS."""

    phase: Phase
    progress: Progress | None
    received_at: datetime
    pod_uid: str
    """Of the pod that sent it."""
    changed_at: datetime
    """When its pod last reported something that it had not said before."""
    resumed_step: int | None = None
    """Training step of the checkpoint that this attempt went on from."""
    checkpoint_step: int | None = None
    """Training step of the newest checkpoint."""
    checkpoint_at: datetime | None = None
    """When that was first reported."""
    pod_order: tuple[str, str] = ("", "")
    """Of the pod: its creation time as the API server writes it, and its name. The greater one is newer."""
    said_at: datetime | None = None
    """By the pod's own clock, but no later than received_at; None: the same as that."""
    content: int = 0
    """Hash of what the report said was done: another one means that the pod is at work."""


@dataclass(frozen=True)
class PostedReport:
    """A final Report as received over HTTPS."""

    report: Report
    pod_uid: str
    """Of the pod that sent it."""
    pod_order: tuple[str, str] = ("", "")
    """As for live progress."""


@dataclass(frozen=True)
class Observed:
    """A finetune and everything that belongs to its run, as found at `now`."""

    finetune: Object
    job: Object | None
    """By the name `children_name()`, whoever owns it."""
    config: Object | None
    """The ConfigMap of the same name, whoever owns it."""
    previous_job: Object | None
    """Job `<name>-<number - 1>`; looked for only while `awaits_previous_job(finetune)`."""
    pods: tuple[Object, ...]
    """Of that Job, and of earlier ones of this finetune and run."""
    events: tuple[Object, ...]
    """About Job and pods; listed only while no pod runs."""
    report: PostedReport | None
    """The last final Report that was posted; termination messages go before it."""
    live: LiveProgress | None
    ca_certificate: str
    """PEM of the report server's authority."""
    now: datetime
    """Aware, in UTC."""
    listening_since: datetime
    """When this operator began to take reports: silence before that says nothing."""
    pods_of_others: tuple[Object, ...] = ()
    """Of Jobs by that name that a finetune had which is gone."""
    service_account: Object | None = None
    """Of `runtime.serviceAccountName`; looked for only while there is no Job."""
    refusal: Stalled | Waiting | None = None
    """What the cluster said to the plan that followed from all this; the next one puts it into status."""
