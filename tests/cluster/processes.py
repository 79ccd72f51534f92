"""Child processes that cannot outlive their parent.

The kernel kills them when the supervisor dies, however it dies (PR_SET_PDEATHSIG). That signal follows the
*thread* that started the child, so children are started from the supervisor's only thread.
"""

import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int) -> Callable[[], None]:
    """For `preexec_fn`: ties the new process to the one with this id."""

    def arrange() -> None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the line above
            os.kill(os.getpid(), signal.SIGKILL)

    return arrange


@dataclass(frozen=True)
class Command:
    """How one component is started; a component that dies is started the same way again."""

    name: str
    arguments: Sequence[str]
    log: Path


class Child:
    """One running component."""

    def __init__(self, command: Command) -> None:
        self.command = command
        with command.log.open("ab") as log:
            self._process = subprocess.Popen(
                command.arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent(os.getpid()),  # noqa: PLW1509 - there is one thread, see above
                # A Ctrl-C in the owner's terminal is the supervisor's business: it stops us in order.
                start_new_session=True,
            )
        self.pidfd = os.pidfd_open(self._process.pid)

    @property
    def pid(self) -> int:
        return self._process.pid

    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    def stop(self, seconds: float) -> None:
        """SIGTERM, then SIGKILL when it is still there after the given time."""
        self._process.terminate()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        """Forget a child that has ended."""
        os.close(self.pidfd)
