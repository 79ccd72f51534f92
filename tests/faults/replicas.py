"""Operators that can be killed and paused at will, and are started again as a kubelet would."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.controlplane import REPOSITORY

LEASE_LOST = 3
"""Exit code of a leader that lost the Lease."""
END_SECONDS = 10.0
START_SECONDS = 60.0
# Of a kubelet 10 s and growing. After a kill there is none, so that it hits the same moment each time.
BACK_OFF_SECONDS = 1.0


@dataclass
class Child:
    """One operator process."""

    pid: Future[int] = field(default_factory=Future)
    code: Future[int] = field(default_factory=Future)
    """Known once it has ended, negative after a signal."""


class Nursery:
    """The process that operators are forked from; see `nursery_process`."""

    def __init__(self, log: Path, *, with_clock: bool = False) -> None:
        command = [sys.executable, "-m", "tests.faults.nursery_process", *(["--clock"] if with_clock else [])]
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                cwd=REPOSITORY,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
            )
        self._lock = threading.Lock()
        self._children: dict[str, Child] = {}
        self._reader = threading.Thread(target=self._read, name="nursery", daemon=True)
        self._reader.start()

    def start(self, environment: Mapping[str, str], log: Path) -> Child:
        """Fork an operator that logs to this file."""
        child = Child()
        with self._lock:
            name = str(len(self._children))
            self._children[name] = child
            order = {"start": name, "environment": dict(environment), "log": str(log)}
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
        child.pid.result(START_SECONDS)
        return child

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = json.loads(line)
            child = self._children[said["id"]]
            if "pid" in said:
                child.pid.set_result(said["pid"])
            else:
                child.code.set_result(said["code"])

    def close(self) -> None:
        """All its operators end with it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(END_SECONDS)
        self._reader.join(END_SECONDS)
        self._process.stdout.close()


@dataclass
class Replica:
    """An operator, started again whenever it ends by itself or by a kill."""

    nursery: Nursery
    environment: Mapping[str, str]
    log: Path
    exits: list[int] = field(default_factory=list)
    """Codes of the processes that have ended, negative after a signal."""

    def __post_init__(self) -> None:
        self._is_wanted = threading.Event()
        self._child: Child | None = None
        self._keeper = threading.Thread(target=self._keep, name="kubelet", daemon=True)

    def start(self) -> None:
        """Once for each replica."""
        self._is_wanted.set()
        self._keeper.start()

    def _keep(self) -> None:
        while self._is_wanted.is_set():
            child = self.nursery.start(self.environment, self.log)
            self._child = child
            code = child.code.result()
            self.exits.append(code)
            if code > 0:
                time.sleep(BACK_OFF_SECONDS)

    def signal(self, number: signal.Signals) -> None:
        """SIGKILL, SIGSTOP, SIGCONT to the process of the moment; nothing to one that has just ended."""
        if self._child is not None and not self._child.code.done():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._child.pid.result(), number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)

    def end(self) -> None:
        """Whatever it does."""
        self._is_wanted.clear()
        self.signal(signal.SIGKILL)

    def stop(self) -> int:
        """SIGTERM for good; its exit code. Raises TimeoutError if it does not end in time."""
        self._is_wanted.clear()
        self.signal(signal.SIGTERM)
        self._keeper.join(END_SECONDS)
        if self._keeper.is_alive() and self._is_running():
            self.kill()
            self._keeper.join(END_SECONDS)
            raise TimeoutError(
                f"the operator did not end within {END_SECONDS:g} s of SIGTERM, see {self.log}"
            )
        return self.exits[-1] if self.exits else 0

    def _is_running(self) -> bool:
        """Not one that has ended, of which nobody has heard yet on a busy machine."""
        assert self._child is not None
        try:
            stat = Path(f"/proc/{self._child.pid.result()}/stat").read_text()
        except FileNotFoundError:
            return False
        return stat.rpartition(")")[2].split()[0] != "Z"
