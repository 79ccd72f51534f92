"""README.md beside a published model: what it is, how good, what it came from. Pure.

Everything comes from the full report. Nothing of the data itself, but for examples where samples are allowed.
"""

import html
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from finetune_trainer.decimals import decimal
from finetune_trainer.reporting.card_metadata import front_matter
from finetune_trainer.reporting.page import Samples
from finetune_trainer.reporting.recipes import recipe_of

Json = dict[str, Any]
PICTURE = "training.png"
PAGE = "report.html"
_SPECIAL = re.compile(r"([\\`*_\[\]|#~])")
_SHOWN = 3
_CLASSES = {
    "Embedding": "SentenceTransformer",
    "Reranker": "CrossEncoder",
    "Sparse": "SparseEncoder",
    "MultiVector": "MultiVectorEncoder",
}
_BY_VECTORS = """\
queries = model.encode_query(["..."])
documents = model.encode_document(["...", "..."])
scores = model.similarity(queries, documents)"""
_BY_PAIRS = """\
scores = model.predict([("a query", "a document"), ("a query", "another document")])
ranked = model.rank("a query", ["a document", "another document"])"""


def write_card(full: Json, samples: Samples) -> str:
    """The whole card in Markdown, with the front matter that model hubs read. full: of a published run."""
    parts = [
        front_matter(full),
        f"# {plain(full['name'])}, run {full['run']}",
        _headline(full),
        _usage(full),
        "## Results",
        _table(full),
        _by_dimension(full),
        f"![Loss and metrics]({PICTURE})",
        f"[{PAGE}]({PAGE}) has curves, groups, and where it gained and lost.",
        _bullets(
            f"Gate {g['evaluator']} {g['metric']}{_group(g)} passed: {g['message']}" for g in _gates(full)
        ),
        "## Notes" if full["notes"] else "",
        _bullets(full["notes"]),
        _examples(full, samples),
        _recipe(full["spec"]),
        _lineage(full["report"]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def plain(text: str) -> str:
    """A text that means itself in Markdown and in HTML, on one line."""
    return _SPECIAL.sub(r"\\\1", html.escape(" ".join(text.split()), quote=False))


def _headline(full: Json) -> str:
    found: Json = full["report"]["measured"]["primary"]
    unit = "rows" if found.get("rows") is not None else "queries"
    size = f" at {found['dimension']} dimensions" if found.get("dimension") else ""
    text = f"{plain(found['name'])} = **{found['tuned']}** on {found[unit]} {unit}{size}"
    if found.get("baseline") is None:
        return f"{text}. The base model was not measured."
    other = "published" if found["comparedTo"] == "Published" else "base"
    return (
        f"{text}; the {other} model has {found['baseline']}: a gain of **{found['gain']}**"
        f" ({_interval(found, unit)}{_wins(found, unit)}). Both were measured as saved, under the same"
        f" settings. Base model: {_sources(full['spec']['model'])}."
    )


def _interval(found: Mapping[str, Any], unit: str) -> str:
    if found.get("gainLow") is None:
        return "no interval could be drawn"
    return f"95 % interval {found['gainLow']} to {found['gainHigh']}, {found['clusters']} groups of {unit}"


def _wins(found: Mapping[str, Any], unit: str) -> str:
    if found.get("wins") is None:
        return ""
    return f"; better on {found['wins']} {unit}, as good on {found['ties']}, worse on {found['losses']}"


def _sources(model: Mapping[str, Any]) -> str:
    parts = [model["uri"]] if "uri" in model else [e["uri"] for e in model["encoders"]]
    return ", ".join(f"`{uri}`" for uri in parts)


def _usage(full: Json) -> str:
    kind = full["spec"]["model"].get("type", "Embedding")
    name = _CLASSES[kind]
    code = _BY_PAIRS if kind == "Reranker" else _BY_VECTORS
    return f"```python\nfrom sentence_transformers import {name}\n\n{_loading(full, name)}\n{code}\n```"


def _loading(full: Json, name: str) -> str:
    """How the model is loaded: from its hub, or from this folder."""
    trusted = ", trust_remote_code=True" if full["spec"]["model"].get("trustRemoteCode") else ""
    text = full["report"]["artifact"]["uri"]
    if text.startswith("hf://"):
        # By its tag: the commit is not known before the card is in it.
        repository, _, revision = text.removeprefix("hf://").partition("@")
        return f'model = {name}("{repository}", revision="{revision}"{trusted})'
    return f'model = {name}("{text.rpartition("/")[2]}"{trusted})  # this folder'


def _table(full: Json) -> str:
    """The metric that decides, or that it is known for, of every evaluator at its headline dimension."""
    lines = ["| evaluator | metric | base | tuned | gain | 95 % interval |", "|---|---|---|---|---|---|"]
    for name, one in full["evaluators"].items():
        metric = one["metric"]
        values = one["dimensions"][_key(one["dimension"])][metric]
        lines.append(f"| {plain(name)} | {plain(metric)} | {' | '.join(_cells(values))} |")
    return "\n".join(lines)


def _by_dimension(full: Json) -> str:
    name = full["report"]["measured"]["primary"]["name"]
    evaluator = full["spec"]["evaluation"]["primary"]["evaluator"]
    one = full["evaluators"][evaluator]
    if len(one["dimensions"]) < 2:
        return ""
    metric = one["metric"]
    lines = [f"| {plain(name.split('_dim')[0])}: dimensions | base | tuned | gain | 95 % interval |"]
    lines.append("|---|---|---|---|---|")
    lines += [f"| {n} | {' | '.join(_cells(values[metric]))} |" for n, values in one["dimensions"].items()]
    return "\n".join(lines)


def _key(dimension: int | None) -> str:
    return "" if dimension is None else str(dimension)


def _cells(values: Mapping[str, Any]) -> Iterator[str]:
    for key in ("baseline", "tuned", "gain"):
        yield "-" if values.get(key) is None else decimal(values[key])
    interval = values.get("interval")
    yield f"{decimal(interval['low'])} to {decimal(interval['high'])}" if interval else "-"


def _gates(full: Json) -> list[Json]:
    gates: list[Json] = full["report"]["measured"].get("gates", [])
    return gates


def _group(gate: Mapping[str, Any]) -> str:
    return f" in {gate['group']}" if gate.get("group") else ""


def _bullets(texts: Any) -> str:
    return "\n".join(f"- {plain(text)}" for text in texts)


def _examples(full: Json, samples: Samples) -> str:
    """Texts of queries that gained most, and of what was found first before and after; "" without texts."""
    evaluator = full["spec"]["evaluation"]["primary"]["evaluator"]
    lines = []
    for example in full["evaluators"][evaluator]["examples"]["best"][:_SHOWN]:
        found = [example.get(key, [""])[0] for key in ("foundByBase", "foundByTuned")]
        query = _text(samples, evaluator, "query", example.get("query", ""))
        before, after = (_text(samples, evaluator, "document", identity) for identity in found)
        if query and before and after:
            lines.append(f"| {query} | {before} | {after} |")
    if not lines:
        return ""
    head = "## Examples\n\n| query | found first before | found first now |\n|---|---|---|\n"
    return head + "\n".join(lines)


def _text(samples: Samples, evaluator: str, role: Any, identity: str) -> str:
    return " ".join(plain(sample.text) for sample in samples(evaluator, role, identity) if sample.text)


def _recipe(spec: Mapping[str, Any]) -> str:
    return f"## Recipe\n\n```json\n{json.dumps(recipe_of(spec), indent=2, ensure_ascii=False)}\n```"


def _lineage(report: Mapping[str, Any]) -> str:
    content = {"artifact": report["artifact"]["digest"], **report["lineage"]}
    return f"## Lineage\n\n```json\n{json.dumps(content, indent=2, ensure_ascii=False)}\n```"
