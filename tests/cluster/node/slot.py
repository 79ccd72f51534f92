"""One container of a pod over all its runs: when it starts next, and what its status shows."""

import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.client import Dict
from tests.cluster.node.container import ContainerRun
from tests.cluster.node.status import ContainerView
from tests.cluster.node.times import now, seconds_text

# A kubelet waits 10 s before the second start and doubles; a test would only sit that out.
FIRST_BACK_OFF_SECONDS = 1.0
LONGEST_BACK_OFF_SECONDS = 300.0
MESSAGE_BYTES = 4096
# All containers of a pod share this much.
POD_MESSAGE_BYTES = 12 * 1024
LOG_MESSAGE_BYTES, LOG_MESSAGE_LINES = 2048, 80


@dataclass
class Slot:
    """A container as the pod's thread keeps it."""

    spec: Dict
    folder: Path
    message_bytes: int
    restart_policy: str
    state: Dict = field(default_factory=lambda: {"waiting": {"reason": "ContainerCreating"}})
    last_state: Dict = field(default_factory=dict)
    run: ContainerRun | None = None
    starts: int = 0
    due: float | None = 0.0
    """When to try to start it, on the monotonic clock; None while it runs and after its end."""
    back_off_seconds: float = FIRST_BACK_OFF_SECONDS

    @property
    def name(self) -> str:
        return str(self.spec["name"])

    @property
    def is_finished(self) -> bool:
        return self.run is None and self.due is None

    @property
    def log(self) -> Path:
        """Of the run that is going on, or the last one."""
        return self.log_of(max(self.starts - 1, 0))

    def log_of(self, start: int) -> Path:
        """Runs are counted from 0."""
        return self.folder / f"{start}.log"

    def view(self) -> ContainerView:
        """For the status."""
        return ContainerView(
            name=self.name,
            image=self.spec.get("image", ""),
            state=self.state,
            last_state=self.last_state,
            container_id=self.run.container_id
            if self.run
            else self.state.get("terminated", {}).get("containerID", ""),
            restarts=max(self.starts - 1, 0),
            restarts_again=not self.is_finished,
        )

    def wait(self, reason: str, message: str, seconds: float) -> None:
        """Not now; try again after that long."""
        self.state = {"waiting": {"reason": reason, "message": message}}
        self.due = time.monotonic() + seconds

    def begin(self, run: ContainerRun) -> None:
        """A process was started."""
        self.run, self.due = run, None
        self.starts += 1
        self.state = {"running": {"startedAt": seconds_text(run.started_at)}}

    def settle(self) -> None:
        """Take note of a run that has ended, and decide whether there is another."""
        if self.run is None or self.run.is_running:
            return
        run, self.run = self.run, None
        terminated = {"terminated": self._terminated(run)}
        succeeded = run.exit_code == 0
        if self.restart_policy == "Always" or (self.restart_policy == "OnFailure" and not succeeded):
            self.last_state = terminated
            self.wait(
                "CrashLoopBackOff", f"starts again after {self.back_off_seconds:.0f} s", self.back_off_seconds
            )
            self.back_off_seconds = min(self.back_off_seconds * 2, LONGEST_BACK_OFF_SECONDS)
        else:
            self.state = terminated

    def abandon(self, exit_code: int, reason: str, message: str) -> None:
        """It will not run (again): its pod is going, or its process was lost."""
        if self.is_finished:
            return
        moment = seconds_text(now())
        ended = {"exitCode": exit_code, "reason": reason, "message": message, "finishedAt": moment}
        self.run, self.due = None, None
        self.state = {"terminated": {**ended, "startedAt": moment}}

    def signal(self, number: signal.Signals) -> None:
        """To its process, if there is one."""
        if self.run is not None:
            self.run.signal(number)

    def _terminated(self, run: ContainerRun) -> Dict:
        ended = {
            "exitCode": run.exit_code,
            "reason": "Completed" if run.exit_code == 0 else "StartError" if run.start_error else "Error",
            "startedAt": seconds_text(run.started_at),
            "finishedAt": seconds_text(run.finished_at or now()),
            "containerID": run.container_id,
        }
        message = run.start_error or self._message(run)
        return {**ended, "message": message} if message else ended

    def _message(self, run: ContainerRun) -> str:
        with run.invocation.termination_message.open("rb") as file:
            message = file.read(self.message_bytes)
        wants_log = self.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError"
        if not message and run.exit_code != 0 and wants_log:
            message = _end_of(run.invocation.log)
        return message.decode(errors="replace")


def _end_of(log: Path) -> bytes:
    with log.open("rb") as file:
        file.seek(max(log.stat().st_size - LOG_MESSAGE_BYTES, 0))
        return b"".join(file.read().splitlines(keepends=True)[-LOG_MESSAGE_LINES:])
