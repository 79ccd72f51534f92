"""A wall clock that steps, for one process: what NTP, a resumed machine or a person does to it.

Only the wall clock: the monotonic one goes on, as it does on a real machine.
"""

import datetime as dt
import os
import time
from pathlib import Path
from typing import Any

from typing_extensions import override

_real_time = time.time
_real_datetime = dt.datetime


def _offset_seconds() -> float:
    path = os.environ.get("TEST_CLOCK_FILE")
    return float(Path(path).read_text()) if path else 0.0


class _AnyDatetime(type):
    """Those that C code makes are of the real class."""

    @override
    def __instancecheck__(cls, thing: object) -> bool:
        return isinstance(thing, _real_datetime)


class _Stepping(_real_datetime, metaclass=_AnyDatetime):
    @override
    @classmethod
    def now(cls, tz: Any = None) -> Any:
        return cls.fromtimestamp(_real_time() + _offset_seconds(), tz)


def install() -> None:
    """Before anything else is imported."""
    time.time = lambda: _real_time() + _offset_seconds()
    dt.datetime = _Stepping  # type: ignore[misc]
