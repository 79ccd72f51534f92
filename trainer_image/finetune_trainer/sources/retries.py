"""Tries again what may work a little later, a bounded number of times: one policy for sources and targets.

The libraries' own retries are switched off: they would multiply with these, and most of them know no
Retry-After.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from time import sleep
from typing import TypeVar

from finetune_trainer.errors import SourceUnavailable

PAUSES_SECONDS = (1.0, 2.0, 4.0, 8.0)
"""Between the attempts; there is one attempt more than pauses."""
LONGEST_PAUSE_SECONDS = 60.0
"""A server that asks for more is given up: the next attempt of the run asks it again."""

T = TypeVar("T")


def retried(attempt: Callable[[], T]) -> T:
    """What `attempt` gives, which is made again after SourceUnavailable. Raises its last error."""
    for pause in PAUSES_SECONDS:
        try:
            return attempt()
        except SourceUnavailable as error:
            asked = error.retry_after_seconds or 0.0
            if asked > LONGEST_PAUSE_SECONDS:
                raise
            sleep(max(pause, asked))
    return attempt()


def parse_retry_after(value: str | None) -> float | None:
    """Seconds to wait, of the header Retry-After: a number or a date (RFC 9110, 10.2.3)."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (moment.astimezone(UTC) - datetime.now(UTC)).total_seconds())
