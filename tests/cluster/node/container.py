"""One run of one container: a process under bubblewrap, from its start to its exit code.

The process is number 1 of a process namespace of its own, as in a real container: nothing it starts
survives it, and SIGTERM does nothing unless it installs a handler. Each run has a thread, because
bubblewrap's "die with your parent" follows the thread that started it, and this one lives exactly as long
as the process.
"""

import contextlib
import datetime as dt
import json
import os
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.node.times import now

# Between bubblewrap's fork and the program's exec a signal would be lost, so a run counts as begun after
# that; this is far longer than it takes.
EXEC_SECONDS = 2.0
KILLED = 128 + signal.SIGKILL


@dataclass(frozen=True)
class Invocation:
    """Everything needed to start the process."""

    bwrap: Path
    sandbox: Sequence[str]
    environment: Mapping[str, str]
    command: Sequence[str]
    log: Path
    termination_message: Path


class ContainerRun:
    """Starts at once; `on_exit` is called from the run's own thread."""

    def __init__(self, invocation: Invocation, on_exit: Callable[[], None]) -> None:
        self.invocation = invocation
        self.container_id = f"process://{uuid.uuid4().hex}"
        self.started_at = now()
        self.finished_at: dt.datetime | None = None
        self.exit_code: int | None = None
        self.start_error: str | None = None
        """Set when the program could not be executed at all."""
        self._pidfd: int | None = None
        self._bwrap: subprocess.Popen[bytes] | None = None
        self._child = 0
        self._lock = threading.Lock()
        self._begun = threading.Event()
        threading.Thread(target=self._run, args=(on_exit,), daemon=True).start()
        self._begun.wait(EXEC_SECONDS)
        self._await_exec()

    @property
    def is_running(self) -> bool:
        return self.exit_code is None

    def signal(self, number: signal.Signals) -> None:
        """Send to process 1 of the container; nothing happens when it has ended."""
        with self._lock, contextlib.suppress(ProcessLookupError):
            if self._pidfd is not None:
                signal.pidfd_send_signal(self._pidfd, number)
            elif self._bwrap is not None and number == signal.SIGKILL:
                self._bwrap.kill()

    def _await_exec(self) -> None:
        deadline = time.monotonic() + EXEC_SECONDS
        bwrap = os.path.realpath(self.invocation.bwrap)
        while self.is_running and time.monotonic() < deadline:
            try:
                if self._child and str(Path(f"/proc/{self._child}/exe").readlink()) != bwrap:
                    return
            except OSError:
                return
            time.sleep(0.005)

    def _run(self, on_exit: Callable[[], None]) -> None:
        code = 128
        try:
            code = self._execute()
        except OSError as error:
            self.start_error = str(error)
        finally:
            self.finished_at = now()
            with self._lock:
                self.exit_code = code
                if self._pidfd is not None:
                    os.close(self._pidfd)
                    self._pidfd = None
            self._begun.set()
            on_exit()

    def _execute(self) -> int:
        read_end, write_end = os.pipe()
        with os.fdopen(read_end) as status:
            try:
                self._bwrap = self._start(write_end)
            finally:
                os.close(write_end)
            self._learn_child(status.readline())
            code = self._bwrap.wait()
            if '"exit-code"' not in status.read() and code > 0:
                self.start_error = _last_line(self.invocation.log)
                return 128
        return KILLED if code < 0 else code

    def _start(self, status: int) -> subprocess.Popen[bytes]:
        words = list(self.invocation.sandbox)
        for name, value in self.invocation.environment.items():
            words += ["--setenv", name, value]
        arguments = os.memfd_create("arguments")
        try:
            # Not on the command line, where the values would be readable for every user.
            os.write(arguments, b"".join(os.fsencode(word) + b"\0" for word in words))
            os.lseek(arguments, 0, os.SEEK_SET)
            command = [
                str(self.invocation.bwrap),
                "--args",
                str(arguments),
                "--json-status-fd",
                str(status),
                "--",
            ]
            with self.invocation.log.open("ab") as log:
                return subprocess.Popen(
                    [*command, *self.invocation.command],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(arguments, status),
                    start_new_session=True,
                )
        finally:
            os.close(arguments)

    def _learn_child(self, line: str) -> None:
        if line:
            with self._lock, contextlib.suppress(ProcessLookupError):
                self._child = int(json.loads(line)["child-pid"])
                self._pidfd = os.pidfd_open(self._child)
        self._begun.set()


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return lines[-1].removeprefix("bwrap: ") if lines else "the program could not be executed"
