"""README.md beside a published model: what it is, how good, what it came from. Nothing of the data itself."""

import json

from finetune_api.report import Report
from finetune_api.status import Artifact
from finetune_trainer.decimals import decimal
from finetune_trainer.results import Results

PICTURE = "training.png"


def write_card(results: Results, report: Report, artifact: Artifact) -> str:
    """The whole card in Markdown, with the front matter that model hubs read."""
    parts = [
        _front_matter(results),
        f"# {results.run.name}, run {results.run.run}",
        _headline(results, report),
        _usage(artifact),
        _table(results),
        f"![Loss and metric by dimension]({PICTURE})",
        _gates(results),
        _notes(results),
        _recipe(results),
        _lineage(report, artifact),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _front_matter(results: Results) -> str:
    primary = results.run.spec.evaluation.primary
    lines = [
        "---",
        "library_name: sentence-transformers",
        "pipeline_tag: sentence-similarity",
        "tags: [sentence-transformers, embedding-finetune-operator]",
        f"metrics: [{json.dumps(results.run.spec.evaluation.metric(primary))}]",
        "---",
    ]
    return "\n".join(lines)


def _headline(results: Results, report: Report) -> str:
    assert report.measured is not None  # noqa: S101 - a card is written of what was measured
    found = report.measured.primary
    units = f"{found.queries} queries" if found.rows is None else f"{found.rows} rows"
    size = "" if found.dimension is None else f" at {found.dimension} dimensions"
    text = f"{found.name} = **{found.tuned}** on {units}{size}"
    if found.baseline is None:
        return f"{text}. The base model was not measured."
    interval = "no interval could be drawn"
    if found.gain_low is not None:
        interval = f"95 % interval {found.gain_low} to {found.gain_high}, {found.clusters} groups of queries"
    return (
        f"{text}; the base model has {found.baseline}: a gain of **{found.gain}** ({interval}; better on"
        f" {found.wins} queries, as good on {found.ties}, worse on {found.losses}). Base and tuned model were"
        f" measured as saved, under the same settings. Base model: {_base(results)}."
    )


def _base(results: Results) -> str:
    return ", ".join(f"`{part.uri}`" for part in results.run.spec.model.sources.values())


def _usage(artifact: Artifact) -> str:
    folder = artifact.uri.rpartition("/")[2]
    return (
        "```python\nfrom sentence_transformers import SentenceTransformer\n\n"
        f'model = SentenceTransformer("{folder}")  # this folder\n'
        'queries, documents = model.encode_query(["..."]), model.encode_document(["..."])\n'
        "scores = model.similarity(queries, documents)\n```"
    )


def _table(results: Results) -> str:
    evaluation = results.run.spec.evaluation
    primary, metric = results.primary, evaluation.metric(evaluation.primary)
    lines = [f"| {metric} at dimensions | base | tuned | gain | 95 % interval |", "|---|---|---|---|---|"]
    for n in primary.tuned.by_dimension:
        tuned = primary.value(primary.tuned, metric, n)
        if (base := primary.baseline_value(metric, n)) is None:
            lines.append(f"| {n} | - | {decimal(tuned)} | - | - |")
            continue
        interval = primary.interval(metric, n)
        ends = f"{decimal(interval.low)} to {decimal(interval.high)}" if interval else "-"
        lines.append(f"| {n} | {decimal(base)} | {decimal(tuned)} | {decimal(tuned - base)} | {ends} |")
    return "\n".join(lines)


def _gates(results: Results) -> str:
    return "\n".join(f"- Gate {g.evaluator} {g.metric} passed: {g.message}" for g in results.gates)


def _notes(results: Results) -> str:
    return "\n".join(f"- {note}" for note in results.notes)


def _recipe(results: Results) -> str:
    spec = results.run.spec.to_dict()
    recipe = {key: spec[key] for key in ("loss", "training") if key in spec}
    return f"## Recipe\n\n```json\n{json.dumps(recipe, indent=2, ensure_ascii=False)}\n```"


def _lineage(report: Report, artifact: Artifact) -> str:
    assert report.lineage is not None  # noqa: S101 - as above
    content = {"artifact": artifact.digest, **report.lineage.to_dict()}
    return f"## Lineage\n\n```json\n{json.dumps(content, indent=2, ensure_ascii=False)}\n```"
