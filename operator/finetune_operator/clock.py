"""The time of the cluster: as the API server told it last, and what has passed since on the monotonic clock.

Everything that it is compared with, from the creation of an object to the end of a pod, was written down by
the cluster. This machine's own clock may be an hour off, or step while a run goes on: runs would be given up
early, or not at all.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

# The API server tells whole seconds, so it is up to one later; and an answer is on its way for a while.
HALF_SECOND = timedelta(seconds=0.5)
TOLERANCE = timedelta(seconds=2)


class ClusterClock:
    """Safe to share among threads. Until the API server has answered, this machine's own time."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._told: tuple[datetime, float] | None = None
        """A time of the cluster, and when that was on the monotonic clock."""

    def now(self) -> datetime:
        """Aware, in UTC."""
        if self._told is None:
            return datetime.now(UTC)
        told, at = self._told
        return told + timedelta(seconds=self._monotonic() - at)

    def heard(self, date: str | None) -> None:
        """The Date header of an answer that came just now; one that says what is known changes nothing."""
        try:
            told = parsedate_to_datetime(date or "").astimezone(UTC) + HALF_SECOND
        except ValueError:
            return
        if self._told is None or abs(told - self.now()) > TOLERANCE:
            self._told = told, self._monotonic()
