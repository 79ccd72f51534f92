"""Reports to the operator, in the wire format of Kubeflow Trainer's status server.

A thread sends the latest state, so that training never waits: at once when the phase changes, else at most
every 5 s. What cannot be sent is dropped: the next state replaces it, and the final Report also stands in the
container's termination message.
"""

import logging
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from finetune_api.report import Report
from finetune_api.status import Phase
from finetune_trainer.training.outcome import TrainingProgress

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 5.0
TIMEOUT_SECONDS = 5.0
FINAL_TRIES = 4
FINAL_PAUSE_SECONDS = 2.0
_NAME_LENGTH = 64


@dataclass(frozen=True)
class Server:
    """The report server. ca: its certificate authority; token: a file that is replaced from time to time."""

    url: str
    ca: Path
    token: Path


@dataclass(frozen=True)
class _State:
    phase: Phase = "Preparing"
    training: TrainingProgress | None = None
    resumed_step: int | None = None
    checkpoint_step: int | None = None
    fetched_bytes: int | None = None
    encoded_inputs: int | None = None

    def to_wire(self) -> dict[str, Any]:
        """`trainerStatus`: what has no field of its own travels as a metric."""
        metrics: dict[str, object] = {
            "phase": self.phase,
            "resumed_step": self.resumed_step,
            "checkpoint_step": self.checkpoint_step,
            "fetched_bytes": self.fetched_bytes,
            "encoded_inputs": self.encoded_inputs,
        }
        status: dict[str, Any] = {"lastUpdatedTime": datetime.now(UTC).isoformat()}
        if (now := self.training) is not None:
            status["progressPercentage"] = min(100, 100 * now.step // max(1, now.total_steps))
            if now.remaining_seconds is not None:
                status["estimatedRemainingSeconds"] = max(0, now.remaining_seconds)
            metrics |= {"current_step": now.step, "total_steps": now.total_steps, "current_epoch": now.epoch}
            metrics |= {"loss": now.loss, "samples_per_second": now.samples_per_second}
        status["metrics"] = [
            {"name": name, "value": str(value)[:_NAME_LENGTH]}
            for name, value in metrics.items()
            if value is not None
        ]
        return status


class OperatorReporter:
    """Sends the state of a run from a thread of its own; use as a context manager."""

    def __init__(
        self, server: Server, *, interval: float = INTERVAL_SECONDS, pause: float = FINAL_PAUSE_SECONDS
    ):
        self._server = server
        self._interval = interval
        self._pause = pause
        self._state = _State()
        self._changed = threading.Condition()
        self._is_new = False
        self._is_urgent = False
        self._is_over = False
        self._failing = False
        self._thread = threading.Thread(target=self._send_states, name="reports", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self._end()

    def begin(self, phase: Phase) -> None:
        self._set(lambda s: replace(s, phase=phase, fetched_bytes=None, encoded_inputs=None), urgent=True)

    def fetched(self, name: str, done: int, total: int) -> None:  # noqa: ARG002 - a sign of life, no more
        self._set(lambda state: replace(state, fetched_bytes=done), urgent=False)

    def encoded(self, done: int, total: int) -> None:  # noqa: ARG002 - as above
        self._set(lambda state: replace(state, encoded_inputs=done), urgent=False)

    def resumed(self, step: int, total_steps: int) -> None:  # noqa: ARG002 - told with every step
        self._set(lambda state: replace(state, resumed_step=step), urgent=True)

    def checkpointed(self, step: int) -> None:
        self._set(lambda state: replace(state, checkpoint_step=step), urgent=True)

    def trained(self, progress: TrainingProgress) -> None:
        self._set(
            lambda state: replace(state, training=progress, resumed_step=state.resumed_step or 0),
            urgent=False,
        )

    def note(self, message: str) -> None:
        """Notes are in the full report."""

    def finish(self, report: Report) -> bool:
        """Send the final Report, with a few tries. False when it could not be delivered.

        Nothing is sent after it: progress would look like a run that goes on.
        """
        self._end()
        body = {"report": report.to_dict()}
        for attempt in range(FINAL_TRIES):
            if attempt:
                time.sleep(self._pause)
            if self._post(body):
                return True
        return False

    def _end(self) -> None:
        with self._changed:
            self._is_over = True
            self._changed.notify()
        self._thread.join(TIMEOUT_SECONDS + 1)

    def _set(self, change: Callable[[_State], _State], *, urgent: bool) -> None:
        with self._changed:
            self._state = change(self._state)
            self._is_new = True
            self._is_urgent |= urgent
            self._changed.notify()

    def _send_states(self) -> None:
        last = -self._interval
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_over or self._is_new)
                while not (self._is_over or self._is_urgent):
                    # Condition.wait may wake early, so the time is looked at anew.
                    if (rest := last + self._interval - time.monotonic()) <= 0:
                        break
                    self._changed.wait(rest)
                if self._is_over:
                    return
                state, self._is_new, self._is_urgent = self._state, False, False
            last = time.monotonic()
            self._post({"trainerStatus": state.to_wire()})

    def _post(self, body: dict[str, Any]) -> bool:
        """Whether the server took it. Never raises, and logs neither token nor body."""
        try:
            token = self._server.token.read_text(encoding="utf-8").strip()
            context = ssl.create_default_context(cafile=str(self._server.ca))
            response = httpx.post(
                self._server.url,
                json=body,
                headers={"Authorization": f"Bearer {token}"},
                timeout=TIMEOUT_SECONDS,
                verify=context,
                trust_env=False,
            )
        except (OSError, ValueError, httpx.HTTPError, httpx.InvalidURL) as error:
            return self._told(f"{type(error).__name__}: {error}")
        return self._told(None if response.status_code == httpx.codes.OK else f"HTTP {response.status_code}")

    def _told(self, problem: str | None) -> bool:
        """One line when reporting begins to fail, one when it works again."""
        if problem and not self._failing:
            logger.warning("the operator cannot be told: %s", problem)
        elif self._failing and not problem:
            logger.warning("the operator can be told again")
        self._failing = problem is not None
        return problem is None
