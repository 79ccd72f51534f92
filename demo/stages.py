"""Stages of the demo with their times: told while they run, listed at the end."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table


class Stages:
    """Times named stages on the monotonic clock and tells them on a console."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._begin = time.monotonic()
        self._seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time what happens inside; a stage that fails is told by its error, not here."""
        begin = time.monotonic()
        self._console.print(f"[bold]==[/] {name}", highlight=False)
        yield
        self._seconds[name] = time.monotonic() - begin

    def tell(self, text: str) -> None:
        """A detail of the stage that runs."""
        self._console.print(f"   {text}", style="dim", highlight=False, soft_wrap=True)

    def table(self) -> Table:
        """All stages and their sum up to now."""
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True)
        table.add_column(justify="right")
        for name, seconds in self._seconds.items():
            table.add_row(name, f"{seconds:.1f} s")
        table.add_row("in all", f"{time.monotonic() - self._begin:.1f} s", style="bold")
        return table
