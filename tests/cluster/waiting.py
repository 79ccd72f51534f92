"""Waiting for the world to come to a state, with an end and a reason."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
POLL_SECONDS = 0.05


def eventually(probe: Callable[[], T | None], what: str, *, seconds: float = 30.0) -> T:
    """The first answer that is neither None nor false. Raises TimeoutError that names what did not come."""
    deadline = time.monotonic() + seconds
    while True:
        if answer := probe():
            return answer
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} s; last answer {answer!r}")
        time.sleep(POLL_SECONDS)
