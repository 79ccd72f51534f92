"""Leader election: of several replicas one acts, decided by a Lease.

Time is measured on the monotonic clock of this machine alone: a Lease counts as abandoned when it has not
changed for its whole duration since *we* first saw it so, whatever anybody's wall clock says. A failed
renewal of any kind changes nothing but the time that is left; when that is over the process must end, because
another may act.
"""

import logging
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any

from finetune_operator.kube import Conflict, Kube
from finetune_operator.settings import Settings

logger = logging.getLogger(__name__)


class Lease:
    """A replica's view of the Lease. `attempt` and `release` belong to one thread, `is_held` to all."""

    def __init__(
        self,
        kube: Kube,
        settings: Settings,
        identity: str,
        *,
        monotonic: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        self._kube = kube
        self._settings = settings
        self._identity = identity
        self._monotonic = monotonic
        self._now = now
        self._ours: dict[str, Any] | None = None
        """The Lease as we wrote it last: the next renewal needs no read."""
        self._seen: tuple[str, str] | None = None
        self._seen_at = self._free_at = 0.0
        self.held_until = float("-inf")
        """On the monotonic clock."""
        self.former_holder = ""
        """Whom we took it from."""
        self.transitions = 0
        """How often it has gone from one replica to another, as it was last seen."""

    def is_held(self) -> bool:
        return self._monotonic() < self.held_until

    def attempt(self) -> bool:
        """Take or renew the Lease if that is allowed; whether it is ours now. API errors rise."""
        started = self._monotonic()
        lease = self._ours or self._kube.get("Lease", self._settings.namespace, self._settings.lease_name)
        self._ours = None
        if lease is not None and not self._may_take(lease, started):
            self.held_until = float("-inf")
            return False
        try:
            written = (
                self._kube.create(self._new()) if lease is None else self._kube.replace(self._renewed(lease))
            )
        except Conflict:
            return self.is_held()
        self._ours = written
        if lease is not None and (holder := _holder(lease)) != self._identity:
            self.former_holder = holder
        self.transitions = written["spec"]["leaseTransitions"]
        # From before the request: the server may have stored it at once and answered late.
        self.held_until = started + self._settings.lease_deadline_seconds
        return True

    def pause(self, longest: float) -> float:
        """Seconds until a standby tries again: not past the moment when the Lease may be taken."""
        left = self._free_at - self._monotonic()
        return min(longest, left) if left > 0 else longest

    def release(self) -> None:
        """Let the next replica begin at once. API errors rise; without it, the Lease runs out by itself."""
        lease, self._ours = self._ours, None
        self.held_until = float("-inf")
        if lease is not None:
            spec = {**lease["spec"], "holderIdentity": "", "renewTime": self._time()}
            self._kube.replace({**lease, "kind": "Lease", "spec": spec})

    def _may_take(self, lease: dict[str, Any], now: float) -> bool:
        spec = lease.get("spec") or {}
        holder = _holder(lease)
        seen = (holder, str(spec.get("renewTime")))
        if seen != self._seen:
            self._seen, self._seen_at = seen, now
        duration = spec.get("leaseDurationSeconds") or self._settings.lease_duration_seconds
        self._free_at = self._seen_at + duration
        return holder in {"", self._identity} or now >= self._free_at

    def _new(self) -> dict[str, Any]:
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._settings.lease_name, "namespace": self._settings.namespace},
            "spec": self._spec(acquired=self._time(), transitions=0),
        }

    def _renewed(self, lease: dict[str, Any]) -> dict[str, Any]:
        spec = lease.get("spec") or {}
        transitions = spec.get("leaseTransitions") or 0
        if spec.get("holderIdentity") == self._identity:
            renewed = self._spec(acquired=spec.get("acquireTime"), transitions=transitions)
        else:
            renewed = self._spec(acquired=self._time(), transitions=transitions + 1)
        return {**lease, "kind": "Lease", "spec": renewed}

    def _spec(self, *, acquired: str | None, transitions: int) -> dict[str, Any]:
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": self._settings.lease_duration_seconds,
            "acquireTime": acquired,
            "renewTime": self._time(),
            "leaseTransitions": transitions,
        }

    def _time(self) -> str:
        return self._now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _holder(lease: dict[str, Any]) -> str:
    """Empty when it was handed back."""
    return (lease.get("spec") or {}).get("holderIdentity") or ""


def acquire(lease: Lease, stop: threading.Event, *, every_seconds: float) -> bool:
    """Wait until the Lease is ours; False when asked to stop before that."""
    while not stop.is_set():
        try:
            if lease.attempt():
                return True
        except Exception as error:  # noqa: BLE001 - any failure is a failed try
            logger.warning("could not try for the lease", extra={"error": repr(error)})
        stop.wait(lease.pause(every_seconds))
    return False


def renew(lease: Lease, stop: threading.Event, *, every_seconds: float) -> None:
    """Renew until asked to stop. What a failure means is decided by `watch` alone."""
    while not stop.wait(every_seconds):
        try:
            lease.attempt()
        except Exception as error:  # noqa: BLE001 - any failure is a failed renewal
            logger.warning("could not renew the lease", extra={"error": repr(error)})


def watch(
    lease: Lease, stop: threading.Event, on_lost: Callable[[], None], *, monotonic: Callable[[], float]
) -> None:
    """Call `on_lost` the moment the Lease is no longer ours, even while a renewal hangs in the network."""
    while lease.is_held():
        left = lease.held_until - monotonic()
        if stop.wait(min(max(left, 0.0), 1.0)):
            return
    if not stop.is_set():
        on_lost()
