"""What a person sees while the finetunes run: a table drawn in place, or lines where there is no terminal."""

import queue
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from demo.errors import DemoError
from demo.watching import Events, Finetune
from tests.cluster.client import ApiError

REDRAWS_PER_SECOND = 4
_STYLES = {"Ready": "green", "GateFailed": "red", "Failed": "red", "Pending": "yellow", "Training": "cyan"}


@dataclass(frozen=True)
class Row:
    """A finetune, when this was heard of it, and when it settled; times on the monotonic clock in seconds."""

    name: str
    started_at: float
    finetune: Finetune | None = None
    heard_at: float = 0.0
    settled_at: float | None = None

    @property
    def phase(self) -> str:
        return (self.finetune and self.finetune.status.phase) or "Applied"

    @property
    def percent(self) -> int:
        if self.finetune is None:
            return 0
        if self.finetune.is_ready:
            return 100
        progress = self.finetune.status.progress
        return progress.percent if progress else 0

    @property
    def loss(self) -> str:
        progress = self.finetune.status.progress if self.finetune else None
        return f"{float(progress.loss):.3f}" if progress and progress.loss else ""

    def remaining_seconds(self, now: float) -> int | None:
        """Of the training; counted down between two messages."""
        progress = self.finetune.status.progress if self.finetune else None
        if self.phase != "Training" or progress is None or progress.remaining_seconds is None:
            return None
        return max(0, round(progress.remaining_seconds - (now - self.heard_at)))

    def elapsed_seconds(self, now: float) -> int:
        return round((self.settled_at or now) - self.started_at)

    @property
    def metric(self) -> str:
        """Before and after, once known."""
        evaluation = self.finetune.status.evaluation if self.finetune else None
        if evaluation is None:
            return ""
        primary = evaluation.primary
        before = f"{float(primary.baseline):.3f} -> " if primary.baseline else ""
        return f"{before}{float(primary.tuned):.3f}"

    @property
    def trouble(self) -> str:
        """Why it does not go on, where the operator says so; its first line."""
        for kind in ("Stalled", "Reconciling"):
            condition = self.finetune.condition(kind) if self.finetune else None
            if condition and (kind == "Stalled" or self.phase == "Pending"):
                first_line, _, _ = condition.message.partition("\n")
                return f"{condition.reason}: {first_line}"
        return ""


def updated(row: Row, finetune: Finetune, now: float) -> Row:
    """The row with what was just heard."""
    settled_at = row.settled_at
    if settled_at is None and finetune.is_settled:
        settled_at = now
    return Row(row.name, row.started_at, finetune, now, settled_at)


def render(rows: Sequence[Row], now: float) -> RenderableType:
    """The table, and below it what holds a finetune up."""
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="dim")
    for heading in ("Finetune", "Phase", "Progress", ""):
        table.add_column(heading, no_wrap=True)
    for heading in ("Loss", "Left", "Time", "Base -> tuned"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        left = row.remaining_seconds(now)
        table.add_row(
            Text(row.name, style="bold"),
            Text(f"{row.phase:<10}", style=_STYLES.get(row.phase, "")),
            ProgressBar(total=100, completed=row.percent, width=28),
            f"{row.percent:3d} %",
            f"{row.loss:>6}",
            "" if left is None else minutes(left),
            minutes(row.elapsed_seconds(now)),
            f"{row.metric:>14}",
        )
    troubles = [Text(f"{row.name}: {row.trouble}", style="yellow") for row in rows if row.trouble]
    return Group(table, *troubles)


def minutes(seconds: float) -> str:
    """Seconds as m:ss."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def plain_line(row: Row, now: float) -> str:
    """One row as one line, for logs."""
    left = row.remaining_seconds(now)
    details = [
        row.loss and f"loss {row.loss}",
        "" if left is None else f"{minutes(left)} left",
        row.metric,
        row.trouble,
    ]
    start = f"{minutes(row.elapsed_seconds(now)):>5}  {row.name:<18}{row.phase:<12}{row.percent:3d} %"
    return "  ".join([start, *(d for d in details if d)])


class _Lines:
    """Prints a line when a finetune enters a phase, gains ten per cent, or says what holds it up."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told: dict[str, tuple[object, ...]] = {}

    def tell(self, row: Row, now: float) -> None:
        news = (row.phase, row.percent // 10, row.trouble)
        if self._told.get(row.name) != news:
            self._told[row.name] = news
            self._console.print(plain_line(row, now), highlight=False, soft_wrap=True)


def show_until_settled(
    events: Events,
    names: Sequence[str],
    *,
    console: Console,
    check: Callable[[], None],
    seconds: float,
) -> list[Finetune]:
    """Show the named finetunes until all are settled, and return them in that order.

    check: called every second, raises to end it.
    Raises DemoError after that many seconds.
    """
    started = time.monotonic()
    rows = {name: Row(name, started) for name in names}
    lines = _Lines(console)
    with _live(console, lambda: render(list(rows.values()), time.monotonic())):
        while not all(row.settled_at for row in rows.values()):
            check()
            heard = _next(events)
            now = time.monotonic()
            if heard is not None and heard.name in rows:
                rows[heard.name] = updated(rows[heard.name], heard, now)
                if not console.is_terminal:
                    lines.tell(rows[heard.name], now)
            if now > started + seconds:
                unsettled = "\n".join(plain_line(row, now) for row in rows.values() if not row.settled_at)
                raise DemoError(f"not done within {minutes(seconds)} minutes:\n{unsettled}")
    return [row.finetune for row in rows.values() if row.finetune]


def _live(console: Console, draw: Callable[[], RenderableType]) -> AbstractContextManager[object]:
    if not console.is_terminal:
        return nullcontext()
    return Live(get_renderable=draw, console=console, refresh_per_second=REDRAWS_PER_SECOND)


def _next(events: Events) -> Finetune | None:
    try:
        event = events.get(timeout=1)
    except queue.Empty:
        return None
    if isinstance(event, ApiError):
        raise DemoError(f"the finetunes can no longer be watched: {event}") from event
    return event
