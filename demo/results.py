"""The end of the demo: what each finetune brought, what its gates said, and where its model is."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from demo.tasks import Task
from demo.watching import Finetune
from finetune_api.evaluator_types import name_parts
from finetune_api.results import GateResult, PrimaryResult


@dataclass(frozen=True)
class Result:
    """One finetune that has ended."""

    task: Task
    finetune: Finetune
    model: Path | None = None
    """The published model, copied to where it stays; None when nothing was published."""
    examples: RenderableType | None = None
    sheet: Path | None = None

    @property
    def shortfall(self) -> str | None:
        """Why this is not what the demo promises, or None."""
        if not self.finetune.is_ready:
            stalled = self.finetune.condition("Stalled")
            return f"{self.task.name} is not Ready: {stalled.message if stalled else 'no condition says why'}"
        evaluation = self.finetune.status.evaluation
        if evaluation is None or self.model is None:
            return f"{self.task.name} is Ready, but its status has no evaluation or no artifact"
        tuned = float(evaluation.primary.tuned)
        if tuned < self.task.expected:
            return f"{self.task.name} reached {tuned:.3f}, expected at least {self.task.expected:.2f}"
        return None


def keep_model(finetune: Finetune, claims: Path, target: Path) -> Path | None:
    """Copy the published model out of the volumes, which go with the cluster."""
    artifact = finetune.status.artifact
    if artifact is None:
        return None
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(claims / artifact.uri.removeprefix("pvc://"), target)
    return target


def render_result(result: Result) -> RenderableType:
    """Everything about one finetune, for the terminal."""
    finetune = result.finetune
    phase = finetune.status.phase or "unknown"
    title = Text.assemble((result.task.name, "bold"), "  ", (phase, "green" if finetune.is_ready else "red"))
    parts: list[RenderableType] = [Rule(title, align="left", style="dim"), Text(result.task.about, "dim")]
    facts = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, fact in _facts(result):
        facts.add_row(Text(name, style="dim"), fact)
    parts.append(facts)
    if result.examples:
        parts.append(Padding(result.examples, (1, 0, 0, 0)))
    return Group(*parts)


def _facts(result: Result) -> Iterator[tuple[str, Text]]:
    status = result.finetune.status
    yield "result", Text(headline(result.finetune), style="bold")
    if status.evaluation:
        yield "gain", Text(_gain(status.evaluation.primary))
        for gate in status.evaluation.gates:
            yield "gate", _gate(gate)
    if status.failure:
        yield "failure", Text(f"{status.failure.message}\n{status.failure.hint}", style="red")
    elif result.shortfall:
        yield "but", Text(result.shortfall, style="red")
    if status.artifact and result.model:
        yield "model", Text(f"{status.artifact.uri}, copied to {_shown(result.model)}")
    if result.sheet:
        yield "picture", Text(_shown(result.sheet))


def headline(finetune: Finetune) -> str:
    """The primary metric before and after."""
    evaluation = finetune.status.evaluation
    if evaluation is None:
        return "not measured"
    primary = evaluation.primary
    metric = name_parts(primary.name).metric.upper()
    before = f"{float(primary.baseline):.3f} -> " if primary.baseline else ""
    return f"{metric}  {before}{float(primary.tuned):.3f}"


def _gain(primary: PrimaryResult) -> str:
    interval = ""
    if primary.gain_low is not None and primary.gain_high is not None:
        interval = f", 95 % interval {float(primary.gain_low):+.3f} to {float(primary.gain_high):+.3f}"
    counts = f"{primary.wins} better, {primary.ties} the same, {primary.losses} worse"
    units = f"{primary.rows} rows" if primary.queries is None else f"{primary.queries} queries"
    return f"{float(primary.gain or 0):+.3f}{interval}; of {units} {counts}"


def _gate(gate: GateResult) -> Text:
    verdict = ("passed", "green") if gate.passed else ("not passed", "red")
    return Text.assemble(verdict, f"  {gate.message}")


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
