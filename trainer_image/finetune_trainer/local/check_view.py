"""How `finetune-trainer check` shows what it has found."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

from finetune_trainer.local.preflight import Finding
from finetune_trainer.local.results_view import show_failure


class Looking:
    """Says on a terminal what is looked at, until it is left."""

    def __init__(self, console: Console) -> None:
        self._status = Status("", console=console) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._status is not None:
            self._status.stop()

    def at(self, what: str) -> None:
        if self._status is not None:
            self._status.update(Text(f"Looking at: {what}"))


def show_findings(console: Console, name: str, findings: Sequence[Finding]) -> None:
    """A line for everything that was looked at, then every problem with its next step."""
    console.print(_table(findings))
    problems = [f.failure for f in findings if f.failure is not None]
    for failure in problems:
        console.print()
        show_failure(console, failure)
    console.print()
    skipped = sum(f.skipped for f in findings)
    more = f"; {skipped} more things could not be looked at" if skipped else ""
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        console.print(Text(f"{name}: {count}{more}.", style="bold red"))
    else:
        console.print(Text(f"{name}: nothing is wrong that can be seen without training.", style="green"))


def _table(findings: Sequence[Finding]) -> Table:
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column()
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        table.add_row(_sign(finding), Text(finding.what), _found(finding))
    return table


def _sign(finding: Finding) -> Text:
    if finding.skipped:
        return Text("-", style="dim")
    return Text("✗", style="bold red") if finding.failure else Text("✓", style="green")


def _found(finding: Finding) -> Text:
    if finding.failure is not None:
        return Text(finding.failure.reason, style="red")
    return Text(finding.found, style="dim" if finding.skipped else "")
