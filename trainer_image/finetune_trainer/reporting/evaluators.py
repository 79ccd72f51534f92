"""The part of report.html about one evaluator: charts, tables, and where the model gained and lost. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from finetune_trainer.decimals import decimal
from finetune_trainer.reporting.charts import Line, gain_chart, line_chart, shown

Json = dict[str, Any]
_FOUND = 3
"""Documents shown of what each model ranked first."""
_KINDS = {
    "best": "Where it gained most",
    "worst": "Where it lost most",
    "worstBefore": "Hardest before",
    "worstAfter": "Hardest now",
}
_COLUMNS = ("base", "tuned", "gain", "95 % interval")


def build_evaluator(name: str, one: Json, samples: Callable[..., Any]) -> Json:
    """What the template shows of one evaluator of a full report."""
    unit = one["unit"]
    units, metric = one[unit], one["metric"]
    gains = _gains(units)
    return {
        "name": f"{name}: {one['type']}",
        "summary": _summary(one),
        "by_dimension": _by_dimension(one, metric),
        "gains": gain_chart(gains) if any(gains) else None,
        "gains_title": f"Gain of each of {len(gains):,} {unit}: {metric}",
        "tables": list(_tables(one, metric)),
        "examples": [
            {
                "title": title,
                "items": [_example(name, e, metric, samples) for e in one["examples"].get(kind, [])],
            }
            for kind, title in _KINDS.items()
        ],
    }


def _summary(one: Json) -> str:
    data, unit = one["data"], one["unit"]
    parts = [f"{data[unit]:,} {unit}"]
    if "documents" in data:
        parts.append(f"{data['documents']:,} documents")
    parts.append(f"{data['clusters']:,} independent groups")
    if data.get("unjudgedQueries"):
        parts.append(f"{data['unjudgedQueries']:,} queries without an answer left out")
    compared = {"Base": "compared with the base model", "Published": "compared with the published model"}
    parts.append(compared.get(one["comparedTo"], "not compared"))
    return f"Set {data['name']}: {', '.join(parts)}."


def _gains(units: Mapping[str, Any]) -> list[float]:
    base, tuned = units["baseline"], units["tuned"]
    if base is None or tuned is None:
        return []
    return [t - b for b, t in zip(base, tuned, strict=True) if b is not None and t is not None]


def _by_dimension(one: Json, metric: str) -> Markup | None:
    """The deciding metric at every dimension, smallest first; None where there is one alone."""
    found = sorted(
        (int(n), metrics[metric]) for n, metrics in one["dimensions"].items() if n and metric in metrics
    )
    if len(found) < 2:
        return None
    before = [(float(n), v["baseline"]) for n, (_, v) in enumerate(found) if v.get("baseline") is not None]
    after = [(float(n), v["tuned"]) for n, (_, v) in enumerate(found) if v["tuned"] is not None]
    lines = [Line("base", before, "base", dots=True)] if before else []
    lines.append(Line("tuned", after, "tuned", dots=True, ends=[_ends(v) for _, v in found]))
    return line_chart(lines, x_label="embedding dimensions", y_label=metric, names=[str(n) for n, _ in found])


def _ends(values: Mapping[str, Any]) -> tuple[float, float] | None:
    """The interval of the gain, drawn around the tuned value as base plus its ends."""
    interval, base = values.get("interval"), values.get("baseline")
    return (base + interval["low"], base + interval["high"]) if interval and base is not None else None


def _tables(one: Json, metric: str) -> Iterator[Json]:
    headline = "" if one["dimension"] is None else str(one["dimension"])
    rows = [
        {"main": n == headline, "cells": [n or metric, *_cells(metrics[metric])]}
        for n, metrics in one["dimensions"].items()
        if metric in metrics
    ]
    first = f"{metric} at dimensions" if headline else ""
    yield {"open": True, "title": "", "columns": (first, *_COLUMNS), "rows": rows}
    if one["groups"]:
        yield _groups(one)
    everything = [
        {"main": name == metric, "cells": [name, n or "-", *_cells(values)]}
        for n, metrics in one["dimensions"].items()
        for name, values in metrics.items()
    ]
    if len(everything) > len(rows):
        columns = ("metric", "dimensions", *_COLUMNS)
        yield {"open": False, "title": "Every metric", "columns": columns, "rows": everything}
    if one.get("details"):
        yield _details(one["details"])


def _groups(one: Json) -> Json:
    unit = one["unit"]
    rows = [
        {"main": False, "cells": [group, f"{found[unit]:,}", name, *_cells(values)]}
        for group, found in one["groups"].items()
        for name, values in found["metrics"].items()
    ]
    return {"open": True, "title": "", "columns": ("group", unit, "metric", *_COLUMNS), "rows": rows}


def _details(details: Mapping[str, Mapping[str, float]]) -> Json:
    names = dict.fromkeys(name for found in details.values() for name in found)
    rows = [
        {"main": False, "cells": [name, *(shown(d[name], 4) if name in d else "-" for d in details.values())]}
        for name in names
    ]
    return {"open": False, "title": "Thresholds and sizes", "columns": ("", *details), "rows": rows}


def _cells(values: Mapping[str, Any]) -> list[str]:
    numbers = [_number(values.get(key)) for key in ("baseline", "tuned")]
    gain, interval = values.get("gain"), values.get("interval")
    numbers.append("-" if gain is None else f"{gain:+.4f}")
    return [*numbers, f"{interval['low']:+.4f} to {interval['high']:+.4f}" if interval else "-"]


def _number(value: float | None) -> str:
    return "-" if value is None else decimal(value)


def _example(evaluator: str, example: Json, metric: str, samples: Callable[..., Any]) -> Json:
    role, identity = ("query", example["query"]) if "query" in example else ("row", example["row"])
    before, after = _number(example.get("baseline")), _number(example["tuned"])
    return {
        "query": _item(evaluator, role, identity, samples),
        "change": f"{metric} {before} → {after}" if before != "-" else f"{metric} {after}",
        "sides": list(_sides(evaluator, example, samples)),
    }


def _sides(evaluator: str, example: Json, samples: Callable[..., Any]) -> Iterator[Json]:
    """What answers, and what each model ranked first."""
    relevant: Sequence[str] = example.get("relevant", [])
    for title, key in (("before", "foundByBase"), ("after", "foundByTuned")):
        if key not in example:
            continue
        found = list(example[key][:_FOUND])
        ranks = example.get(f"ranksBy{key.removeprefix('foundBy')}", {})
        rank = min(ranks.values(), default=None)
        place = f"first answer at rank {rank}" if rank else "no answer found"
        items = [_item(evaluator, "document", d, samples) | {"right": d in relevant} for d in found]
        yield {"title": f"Ranked first {title} ({place})", "items": items}
    if "foundByTuned" in example and not set(relevant) & set(example["foundByTuned"][:_FOUND]):
        items = [_item(evaluator, "document", d, samples) | {"right": True} for d in relevant[:1]]
        yield {"title": "An answer", "items": items}


def _item(evaluator: str, role: str, identity: str, samples: Callable[..., Any]) -> Json:
    return {"id": identity, "right": False, "seen": list(samples(evaluator, role, identity))}
