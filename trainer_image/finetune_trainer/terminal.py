"""Shows a run to a person: one bar a phase on a terminal, plain lines in a log."""

import logging
import time
from typing import TYPE_CHECKING

from finetune_api.status import Phase
from finetune_trainer.training_types import TrainingProgress

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

logger = logging.getLogger(__name__)

LINE_SECONDS = 10.0
"""Lines about one phase are at least this far apart."""

_WHAT = {
    "Preparing": "Reading sources and data",
    "Baseline": "Measuring the base model",
    "Training": "Training",
    "Evaluating": "Measuring the tuned model",
    "Publishing": "Publishing",
}


class Lines:
    """Plain lines through the log: what a pod's log and a redirected terminal get."""

    def __init__(self, *, interval: float = LINE_SECONDS) -> None:
        self._interval = interval
        self._last = 0.0

    def begin(self, phase: Phase) -> None:
        logger.info("%s: %s", phase, _WHAT.get(phase, phase))
        self._last = time.monotonic()

    def encoded(self, done: int, total: int) -> None:
        if self._is_due():
            logger.info("encoded %d of %d inputs", done, total)

    def trained(self, progress: TrainingProgress) -> None:
        if self._is_due() or progress.step in {1, progress.total_steps}:
            logger.info("step %d of %d%s", progress.step, progress.total_steps, _details(progress))

    def note(self, message: str) -> None:
        logger.warning("note: %s", message)

    def _is_due(self) -> bool:
        now = time.monotonic()
        if now - self._last < self._interval:
            return False
        self._last = now
        return True


class Bars:
    """One progress bar a phase; finished ones stay. `close` comes before anything else is printed."""

    def __init__(self, console: "Console") -> None:
        from rich.progress import (
            BarColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeElapsedColumn,
        )

        self._console = console
        self._progress = Progress(
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description:<26}"),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[details]}"),
            console=console,
        )
        self._task: TaskID | None = None
        self._progress.start()

    def begin(self, phase: Phase) -> None:
        self._end_task()
        self._task = self._progress.add_task(_WHAT.get(phase, phase), total=None, details="")

    def encoded(self, done: int, total: int) -> None:
        if self._task is not None:
            self._progress.update(self._task, completed=done, total=total, details=f"{done}/{total} inputs")

    def trained(self, progress: TrainingProgress) -> None:
        if self._task is not None:
            details = f"{progress.step}/{progress.total_steps}{_details(progress)}"
            self._progress.update(
                self._task, completed=progress.step, total=progress.total_steps, details=details
            )

    def note(self, message: str) -> None:
        self._console.print(f"note: {message}", markup=False)

    def close(self) -> None:
        self._end_task()
        self._progress.stop()

    def _end_task(self) -> None:
        if self._task is not None:
            self._progress.update(self._task, total=1, completed=1)
            self._progress.stop_task(self._task)


def _details(progress: TrainingProgress) -> str:
    parts = [f", loss {progress.loss:.4f}"] if progress.loss is not None else []
    if progress.samples_per_second is not None:
        parts.append(f", {progress.samples_per_second:.1f} rows/s")
    if progress.remaining_seconds is not None:
        minutes, seconds = divmod(progress.remaining_seconds, 60)
        parts.append(f", {minutes}:{seconds:02} left")
    return "".join(parts)
