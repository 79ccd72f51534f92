"""report.html: what a run has found out, as one page that opens without a network. Pure.

Everything on it comes from the full report; texts and pictures of the data only through `samples`. Jinja
escapes whatever is put in, and the page's own policy lets nothing load and nothing run.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from finetune_trainer.reporting.charts import Line, Share, line_chart, share_bar
from finetune_trainer.reporting.evaluators import build_evaluator
from finetune_trainer.reporting.recipes import recipe_of

Json = dict[str, Any]


@dataclass(frozen=True)
class Sample:
    """An input of the data as a reader sees it. picture: a data: URI."""

    text: str | None = None
    picture: str | None = None


Role = Literal["query", "document", "row"]
Samples = Callable[[str, Role, str], Sequence[Sample]]
"""(evaluator, role, id) -> what there is to see of it; nothing where samples are not allowed."""


def no_samples(_evaluator: str, _role: Role, _id: str) -> Sequence[Sample]:
    """The data is not shown: ids alone."""
    return ()


def render_page(full: Json, samples: Samples = no_samples) -> str:
    """The page of a full report."""
    template = _environment().get_template("report.html.j2")
    measured = full["report"].get("measured") or {}
    return template.render(
        page=_page(full),
        headline=_headline(measured.get("primary") or {}),
        gates=[_gate(gate) for gate in measured.get("gates", [])],
        notes=full["notes"],
        training=_training(full["training"], full["spec"]),
        evaluators=[build_evaluator(name, one, samples) for name, one in full["evaluators"].items()],
        recipe=json.dumps(recipe_of(full["spec"]), indent=2, ensure_ascii=False),
        lineage=list(_lineage(full)),
        timings=_timings(full["seconds"]),
        footer=f"{full['namespace']}/{full['name']}, uid {full['uid']}, spec {full['specHash']}",
    )


def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("finetune_trainer.reporting"),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _page(full: Json) -> Json:
    passed = full["report"]["outcome"] == "Succeeded"
    verdict = "all gates passed" if passed else "a gate was not passed"
    has_gates = bool((full["report"].get("measured") or {}).get("gates"))
    return {
        "name": full["name"],
        "run": full["run"],
        "passed": passed,
        "verdict": verdict if has_gates or not passed else "measured",
        "subtitle": f"Finished {full['finished'][:19].replace('T', ' ')} UTC on {full['device']}.",
    }


def _headline(primary: Mapping[str, Any]) -> Json:
    unit, count = next(((u, primary[u]) for u in ("queries", "rows") if primary.get(u) is not None), ("", 0))
    dimension = f" at {primary['dimension']} dimensions" if primary.get("dimension") else ""
    gain = primary.get("gain")
    return {
        "name": primary.get("name", ""),
        "tuned": primary.get("tuned", ""),
        "baseline": primary.get("baseline"),
        "gain": None if gain is None else _signed(gain),
        "is_gain": gain is not None and float(gain) >= 0,
        "scope": f"{_compared(primary)}, on {count:,} {unit}{dimension}.",
        "interval": _interval(primary, unit),
        "bar": _wins(primary, unit),
    }


def _compared(primary: Mapping[str, Any]) -> str:
    names = {"Base": "Base → tuned model", "Published": "Published → tuned model"}
    return names.get(primary.get("comparedTo", ""), "The tuned model")


def _signed(number: str) -> str:
    return number if number.startswith("-") else f"+{number}"


def _interval(primary: Mapping[str, Any], unit: str) -> str:
    if primary.get("gainLow") is None:
        return "No interval could be drawn."
    return (
        f"95 % interval {_signed(primary['gainLow'])} to {_signed(primary['gainHigh'])}, over"
        f" {primary['clusters']:,} independent groups of {unit}. It covers the choice of {unit}, not the"
        " training seed."
    )


def _wins(primary: Mapping[str, Any], unit: str) -> Markup:
    if primary.get("wins") is None:
        return Markup()
    words = (("wins", "better on", "gain"), ("ties", "as good on", "even"), ("losses", "worse on", "loss"))
    return share_bar(
        [Share(f"{text} {primary[key]:,} {unit}", primary[key], style) for key, text, style in words]
    )


def _gate(gate: Mapping[str, Any]) -> Json:
    group = f" in {gate['group']}" if gate.get("group") else ""
    return {**gate, "what": f"{gate['evaluator']} {gate['metric']}{group}"}


def _training(training: Mapping[str, Any], spec: Mapping[str, Any]) -> Json:
    best = training["bestStep"]
    loss = line_chart(
        [Line("loss", _points(training["lossCurve"]), "tuned")],
        x_label="step",
        y_label="Training loss",
        mark=best,
    )
    selection = spec.get("training", {}).get("selection") or {}
    name = " ".join(filter(None, (selection.get("evaluator"), selection.get("metric")))) or "Selection"
    points = _points(training["selectionCurve"])
    chart = line_chart([Line(name, points, "tuned", dots=True)], x_label="step", y_label=name, mark=best)
    dropped = f", {training['droppedRows']:,} more left out for overlap" if training["droppedRows"] else ""
    kept = f"; kept: the weights of step {best:,}" if best is not None else ""
    return {
        "loss": loss,
        "selection": chart if points else None,
        "summary": f"{training['steps']:,} steps over {training['rows']:,} rows{dropped}{kept}.",
    }


def _points(curve: Sequence[Sequence[float | None]]) -> list[tuple[float, float]]:
    return [(step, value) for step, value in curve if step is not None and value is not None]


def _lineage(full: Json) -> Iterator[Json]:
    artifact = full["report"].get("artifact") or {}
    lineage = full["report"].get("lineage") or {}
    rows = {"model published to": artifact.get("uri"), "its digest": artifact.get("digest")}
    rows |= {
        "base model": lineage.get("model"),
        "train data": lineage.get("trainData"),
        "gate data": lineage.get("evalData"),
        "trainer image": lineage.get("image"),
        "seed": lineage.get("seed"),
        "mini-batch": lineage.get("miniBatchSize"),
    }
    rows |= lineage.get("versions") or {}
    for name, value in rows.items():
        if value is not None:
            yield {"name": name, "value": value}


def _timings(seconds: Mapping[str, float]) -> Json:
    rows = [{"name": name, "value": _duration(spent)} for name, spent in seconds.items()]
    rows.append({"name": "in all", "value": _duration(sum(seconds.values()))})
    shares = [
        Share(f"{name} {_duration(spent)}", spent, f"s{n % 6}")
        for n, (name, spent) in enumerate(seconds.items())
    ]
    return {"bar": share_bar(shares), "rows": rows}


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"
