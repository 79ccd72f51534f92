"""Shows a run to a person: one bar a phase on a terminal, plain lines in a log."""

import logging
import time
from typing import TYPE_CHECKING, Any

from finetune_api.status import Phase
from finetune_trainer.training.outcome import TrainingProgress

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import ProgressColumn, TaskID

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

    def fetched(self, name: str, done: int, total: int) -> None:
        if self._is_due():
            logger.info("fetched %s of %s", _bytes(done, total), name)

    def encoded(self, done: int, total: int) -> None:
        if self._is_due():
            logger.info("encoded %d of %d inputs", done, total)

    def resumed(self, step: int, total_steps: int) -> None:
        if step:
            logger.info("going on after step %d of %d", step, total_steps)

    def checkpointed(self, step: int) -> None:
        logger.info("checkpoint of step %d", step)

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
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
        from rich.table import Column

        self._console = console
        self._progress = Progress(
            _state_column(),
            TextColumn("{task.description:<25}"),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            # What does not fit into a narrow terminal is cut off: a second line would break the bars.
            TextColumn(
                "{task.fields[details]}",
                markup=False,
                table_column=Column(no_wrap=True, overflow="ellipsis"),
            ),
            console=console,
        )
        self._task: TaskID | None = None
        self._last = ""
        self._progress.start()

    def begin(self, phase: Phase) -> None:
        self._end_task("done")
        self._task = self._progress.add_task(_WHAT.get(phase, phase), total=None, details="", state="")

    def fetched(self, name: str, done: int, total: int) -> None:
        self._show(done, total or None, f"{_bytes(done, total)} of {name}")

    def encoded(self, done: int, total: int) -> None:
        self._last = f"{total} inputs"
        self._show(done, total, f"{done} of {total} inputs{self._remaining(done, total)}")

    def resumed(self, step: int, total_steps: int) -> None:
        if step:
            self.note(f"going on after step {step} of {total_steps}, from a checkpoint")
            self._show(step, total_steps, "")

    def checkpointed(self, step: int) -> None:
        """No news at a terminal: whoever interrupts is told then."""

    def trained(self, progress: TrainingProgress) -> None:
        loss, speed, left = _loss(progress), _speed(progress), _left(progress)
        step = f"step {progress.step} of {progress.total_steps}"
        self._last = ", ".join(filter(None, (f"{progress.step} steps", loss, speed)))
        # What matters most comes first: the end is what a narrow terminal cuts off.
        self._show(progress.step, progress.total_steps, ", ".join(filter(None, (loss, left, step, speed))))

    def note(self, message: str) -> None:
        self._console.print(f"note: {message}", markup=False, highlight=False)

    def close(self, *, failed: bool = False) -> None:
        self._end_task("failed" if failed else "done")
        self._progress.stop()

    def _show(self, done: int, total: int | None, details: str) -> None:
        if self._task is not None:
            self._progress.update(self._task, completed=done, total=total, details=details)

    def _remaining(self, done: int, total: int) -> str:
        """An estimate, once there is something to stand on; of one evaluation, not of the whole phase."""
        if self._task is None or done in {0, total}:
            return ""
        left = self._progress.tasks[-1].time_remaining
        return f", {_clock(left)} left" if left is not None else ""

    def _end_task(self, state: str) -> None:
        if self._task is None:
            return
        if state == "done":
            self._progress.update(self._task, total=1, completed=1, details=self._last)
        self._progress.update(self._task, state=state)
        self._progress.stop_task(self._task)
        self._task, self._last = None, ""


def _bytes(done: int, total: int) -> str:
    """How far a download is, in MB."""
    return f"{done / 1e6:,.0f}" + (f" of {total / 1e6:,.0f} MB" if total else " MB")


def _state_column() -> "ProgressColumn":
    """A spinner while a phase runs, then whether it went well."""
    from rich.progress import SpinnerColumn, Task
    from rich.text import Text
    from typing_extensions import override

    class State(SpinnerColumn):
        @override
        def render(self, task: Task) -> Any:
            match task.fields["state"]:
                case "done":
                    return Text("✓", style="green")
                case "failed":
                    return Text("✗", style="bold red")
                case _:
                    return super().render(task)

    return State()


def _details(progress: TrainingProgress) -> str:
    parts = (_loss(progress), _speed(progress), _left(progress))
    return "".join(f", {part}" for part in parts if part)


def _loss(progress: TrainingProgress) -> str:
    return "" if progress.loss is None else f"loss {progress.loss:.4f}"


def _speed(progress: TrainingProgress) -> str:
    speed = progress.samples_per_second
    return "" if speed is None else f"{speed:.1f} rows/s"


def _left(progress: TrainingProgress) -> str:
    left = progress.remaining_seconds
    return "" if left is None else f"{_clock(left)} left"


def _clock(seconds: float) -> str:
    """1:02:03, or 2:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
