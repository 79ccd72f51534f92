"""Overlap of train and evaluation data: a query that was trained on says nothing about unseen ones."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from finetune_trainer.errors import InvalidData
from finetune_trainer.inputs import EvaluationData, TrainingData

_LONGEST_EXAMPLE = 40
"""Characters of a query that a message may show: enough to find it, too little to leak the data."""


def resolve_overlap(
    training: TrainingData, evaluation: Mapping[str, EvaluationData], policy: Literal["Fail", "Warn", "Drop"]
) -> tuple[TrainingData, list[str]]:
    """The rows to train on, and a note for every eval set that shares queries with them.

    Raises InvalidData under Fail, and under Drop when no row is left.
    """
    rows_by_set = {name: _shared_rows(training, data) for name, data in evaluation.items()}
    notes = [_note(training, evaluation[name], rows) for name, rows in rows_by_set.items() if rows]
    if not notes:
        return training, []
    if policy == "Fail":
        raise InvalidData(
            "Overlap",
            "; ".join(notes),
            "remove the rows, or set `data.overlap` to Drop (leaves them out) or Warn",
        )
    if policy == "Drop":
        return _without(training, {row for rows in rows_by_set.values() for row in rows}), notes
    return training, notes


def _shared_rows(training: TrainingData, data: EvaluationData) -> list[int]:
    of_set = {key.encode() for key in data.queries.keys}
    return [row for row, key in enumerate(training.content_keys[:, 0]) if bytes(key) in of_set]


def _note(training: TrainingData, data: EvaluationData, rows: list[int]) -> str:
    query = (
        training.rows[rows[0]]["query"] if training.rows.features["query"].dtype == "string" else "an image"
    )
    shown = query if len(query) <= _LONGEST_EXAMPLE else query[:_LONGEST_EXAMPLE] + "..."
    return (
        f"{len(rows)} of {len(training.rows)} train rows have a query of eval set {data.name!r},"
        f" {_with_answer(training, data, rows)} of them with an answer of it too;"
        f" the first is row {rows[0]}: {shown!r}"
    )


def _with_answer(training: TrainingData, data: EvaluationData, rows: list[int]) -> int:
    """How many of the rows have a positive that is relevant for the same query in the set."""
    id_of_query = dict(zip(data.queries.keys, data.queries.ids, strict=True))
    key_of_document = dict(zip(data.corpus.ids, data.corpus.keys, strict=True))
    answers = {
        (key, key_of_document[document])
        for key, query in id_of_query.items()
        for document in data.relevant[query]
    }
    pairs = (tuple(key.decode() for key in training.content_keys[row, :2]) for row in rows)
    return sum(pair in answers for pair in pairs)


def _without(training: TrainingData, dropped: set[int]) -> TrainingData:
    kept = [row for row in range(len(training.rows)) if row not in dropped]
    if not kept:
        raise InvalidData(
            "EmptyData", "every train row has a query of an eval set: nothing is left to train on"
        )
    return replace(
        training,
        rows=training.rows.select(kept),
        content_keys=training.content_keys[kept],
        dropped_rows=training.dropped_rows + len(dropped),
    )
