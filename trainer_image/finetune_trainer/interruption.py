"""SIGTERM and SIGINT: a flag that training looks at after every step and the pipeline between stages.

Nothing is cut off in the middle: a signal outside the training ends at the next boundary.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import ClassVar

from finetune_api.exit_codes import ExitCode
from finetune_trainer.errors import TrainerError


class Interrupted(TrainerError):
    """The run was asked to stop. Another attempt goes on from a checkpoint, or begins anew."""

    exit_code: ClassVar[ExitCode] = ExitCode.INTERRUPTED


class StopRequest:
    """Set by a signal, never taken back."""

    def __init__(self) -> None:
        self._signal: int | None = None

    def set(self, number: int, _frame: FrameType | None = None) -> None:
        """A signal handler."""
        self._signal = number

    def is_set(self) -> bool:
        return self._signal is not None

    @property
    def exit_code(self) -> int:
        """As shells have it for a process that its signal ended; 0 without one."""
        return 128 + self._signal if self._signal is not None else 0

    def check(self) -> None:
        """Raises Interrupted once it is set."""
        if self._signal is not None:
            name = signal.Signals(self._signal).name
            raise Interrupted(
                "Interrupted", f"the run was stopped by {name}; nothing was published", "start it again"
            )


@contextmanager
def stopping_on_signals() -> Iterator[StopRequest]:
    """Let SIGTERM and SIGINT ask for a stop; the second SIGINT acts as it always does."""
    stop = StopRequest()

    def interrupt(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            signal.default_int_handler(number, frame)
        stop.set(number)

    before = {
        signal.SIGTERM: signal.signal(signal.SIGTERM, stop.set),
        signal.SIGINT: signal.signal(signal.SIGINT, interrupt),
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
