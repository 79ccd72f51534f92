"""Bytes on their way: counted from several threads, and told now and then."""

import threading
import time
from collections.abc import Callable

OnTransfer = Callable[[str, int, int], None]
"""Told what is fetched, how many bytes of it are here, and how many there will be (0: not known)."""
TELL_SECONDS = 0.5


class Transfer:
    """One thing that is fetched. total: its bytes, 0 when they are not known."""

    def __init__(self, name: str, total: int, tell: OnTransfer) -> None:
        self.total = total
        self._name, self._tell = name, tell
        self._done = 0
        self._told = time.monotonic()
        self._lock = threading.Lock()

    def add(self, count: int) -> None:
        """So many more bytes are here. Passes on what the one who is told raises: a stop, for example."""
        with self._lock:
            self._done += count
            done, now = self._done, time.monotonic()
            if now - self._told < TELL_SECONDS and done != self.total:
                return
            self._told = now
        self._tell(self._name, done, self.total)


def count_nothing(_bytes: int) -> None:
    """For a download in a stage that shows no progress of its own."""


def tell_nobody(_name: str, _done: int, _total: int) -> None:
    """For whoever does not want to know."""
