"""How `finetune-trainer run` shows what came out: tables, verdicts, and where the model is."""

import json
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table

from finetune_api.status import Failure
from finetune_trainer.decimals import decimal
from finetune_trainer.pipeline import Ending

_AS_IT_IS: dict[str, Any] = {"markup": False, "highlight": False, "soft_wrap": True}
"""Texts that come from outside are no markup, and paths must stay on one line to be copied."""


def show_ending(console: Console, ending: Ending, *, folder: str | None, with_notes: bool) -> None:
    """folder: where the published model is, on this machine or elsewhere."""
    report = ending.report
    if report.failure is not None:
        show_failure(console, report.failure)
        return
    if ending.repeated:
        console.print(
            "This spec has been published already; here is what that run found (--again repeats it)."
        )
    if ending.full_report is not None:
        _show_numbers(console, json.loads(ending.full_report.read_text(encoding="utf-8")), with_notes)
    for gate in report.measured.gates if report.measured else []:
        verdict = "[green]passed[/]" if gate.passed else "[bold red]not passed[/]"
        text = f"gate {gate.evaluator} {gate.metric}: {verdict} ({gate.message})"
        console.print(text, highlight=False, soft_wrap=True)
    if folder is not None:
        console.print(f"model: {folder}", **_AS_IT_IS)
    elif report.outcome == "GateFailed":
        console.print("The model was not published.")
    if ending.full_report is not None:
        console.print(f"full report: {ending.full_report}", **_AS_IT_IS)


def show_failure(console: Console, failure: Failure) -> None:
    """What went wrong and what to do, each from a line of its own."""
    console.print(f"[bold red]{failure.reason}[/]:", end=" ", highlight=False)
    console.print(failure.message, **_AS_IT_IS)
    if failure.hint:
        console.print(f"Next: {failure.hint}", **_AS_IT_IS)


def _show_numbers(console: Console, full: dict[str, Any], with_notes: bool) -> None:
    for table in _tables(full):
        console.print(table)
    for note in full["notes"] if with_notes else []:
        console.print(f"note: {note}", **_AS_IT_IS)


def _tables(full: dict[str, Any]) -> Iterator[Table]:
    for name, evaluator in full["evaluators"].items():
        table = Table(
            title=f"{name}: {_sizes(evaluator)}",
            title_justify="left",
        )
        for column in ("metric", "dimensions", "base", "tuned", "gain", "95 % interval"):
            table.add_column(column, justify="left" if column == "metric" else "right")
        for dimension, metrics in evaluator["dimensions"].items():
            for metric, values in metrics.items():
                if metric == evaluator[evaluator["unit"]]["metric"] or "interval" in values:
                    table.add_row(metric, dimension, *_cells(values))
        yield table


def _sizes(evaluator: dict[str, Any]) -> str:
    data, unit = evaluator["data"], evaluator["unit"]
    documents = f", {data['documents']} documents" if "documents" in data else ""
    return f"{data[unit]} {unit}{documents}"


def _cells(values: dict[str, Any]) -> Iterator[str]:
    for key in ("baseline", "tuned", "gain"):
        yield decimal(values[key]) if key in values else "-"
    interval = values.get("interval")
    yield f"{decimal(interval['low'])} to {decimal(interval['high'])}" if interval else "-"
