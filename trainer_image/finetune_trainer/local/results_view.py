"""How `finetune-trainer run` shows what came out: tables, verdicts, and where the model is."""

import json
from collections.abc import Iterator
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from finetune_api.results import Failure, Measured, PrimaryResult
from finetune_trainer.decimals import decimal
from finetune_trainer.pipeline import Ending
from finetune_trainer.reporting.card import PAGE

_AS_IT_IS: dict[str, Any] = {"markup": False, "highlight": False, "soft_wrap": True}
"""Texts that come from outside are no markup, and paths must stay on one line to be copied."""
_NUMBERS = ("base", "tuned", "gain", "95 % interval")


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
    if report.measured is not None:
        _show_verdicts(console, report.measured)
    if folder is not None:
        console.print(f"model: {folder}", **_AS_IT_IS)
    elif report.outcome == "GateFailed":
        console.print("The model was not published.")
    if ending.full_report is not None:
        console.print(f"full report: {ending.full_report}", **_AS_IT_IS)
        page = ending.full_report.with_name(PAGE)
        if page.is_file():
            console.print(f"to look at: {page.absolute().as_uri()}", **_AS_IT_IS)


def _show_verdicts(console: Console, measured: Measured) -> None:
    """The headline, then every gate."""
    console.print(_headline(measured.primary), highlight=False)
    for gate in measured.gates:
        where = f"{gate.evaluator} {gate.metric}" + (f" in {gate.group}" if gate.group else "")
        line = Text(f"gate {where}: ")
        line.append("passed" if gate.passed else "not passed", "green" if gate.passed else "bold red")
        line.append(f" ({gate.message})")
        console.print(line, soft_wrap=True, highlight=False)


def _headline(primary: PrimaryResult) -> Text:
    line = Text(f"{primary.name}: ")
    if primary.baseline is None or primary.gain is None:
        return line.append(primary.tuned, "bold")
    style = "bold red" if primary.gain.startswith("-") else "bold green"
    line.append(f"{primary.baseline} → ").append(primary.tuned, "bold")
    line.append(", gain ").append(f"{float(primary.gain):+.4f}", style)
    if primary.gain_low is not None and primary.gain_high is not None:
        line.append(f" (95 % interval {float(primary.gain_low):+.4f} to {float(primary.gain_high):+.4f})")
    return line


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
    for name, one in full["evaluators"].items():
        has_sizes = one["dimension"] is not None
        table = Table(
            title=f"{name}: {_sizes(one)}", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD
        )
        for column in ("metric", *(["dimensions"] if has_sizes else []), *_NUMBERS):
            table.add_column(column, justify="left" if column == "metric" else "right")
        for metric, dimension, values, style in _rows(one):
            table.add_row(Text(metric), *([dimension] if has_sizes else []), *_cells(values), style=style)
        yield table


def _rows(one: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any], str]]:
    """(metric, dimension, values, style): what leads and what decides, then the groups."""
    headline = "" if one["dimension"] is None else str(one["dimension"])
    for dimension, metrics in one["dimensions"].items():
        for metric, values in metrics.items():
            if metric == one["metric"] or "interval" in values:
                leads = metric == one["metric"] and dimension == headline
                yield metric, dimension, values, "bold" if leads else ""
    for group, found in one["groups"].items():
        for metric, values in found["metrics"].items():
            yield f"{metric} in {group}", headline, values, "dim"


def _sizes(evaluator: dict[str, Any]) -> str:
    data, unit = evaluator["data"], evaluator["unit"]
    documents = f", {data['documents']} documents" if "documents" in data else ""
    return f"{data[unit]} {unit}{documents}"


def _cells(values: dict[str, Any]) -> Iterator[str]:
    for key in ("baseline", "tuned"):
        yield "-" if values.get(key) is None else decimal(values[key])
    yield "-" if values.get("gain") is None else f"{values['gain']:+.4f}"
    interval = values.get("interval")
    yield f"{interval['low']:+.4f} to {interval['high']:+.4f}" if interval else "-"
