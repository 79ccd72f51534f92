"""Overlap of train and evaluation data: a query that was trained on says nothing about unseen ones."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from finetune_trainer.data.inputs import EvaluationData, LabelledData, TrainingData, TrainingSet
from finetune_trainer.errors import InvalidData

if TYPE_CHECKING:
    import datasets

_LONGEST_EXAMPLE = 40
"""Characters of a query that a message may show: enough to find it, too little to leak the data."""
_COMPARED = 2
"""Inputs that make a labelled row the same, in any order: a negative beside them changes nothing."""


def resolve_overlap(
    training: TrainingData, evaluation: Mapping[str, EvaluationData], policy: Literal["Fail", "Warn", "Drop"]
) -> tuple[TrainingData, list[str]]:
    """The rows to train on, and a note for every train set and eval set that share queries.

    Raises InvalidData under Fail, and under Drop when no row of a train set is left.
    """
    different = list({id(data): data for data in evaluation.values()}.values())
    shared = [[(data, _shared_rows(one, data)) for data in different] for one in training.sets]
    notes = [
        _note(one, data, rows, quoted=policy == "Fail")
        for one, found in zip(training.sets, shared, strict=True)
        for data, rows in found
        if rows
    ]
    if notes and policy == "Fail":
        raise InvalidData(
            "Overlap",
            "; ".join(notes),
            "remove the rows, or set `data.overlap` to Drop (leaves them out) or Warn",
        )
    if notes and policy == "Drop":
        sets = [
            _without(one, {row for _, rows in found for row in rows})
            for one, found in zip(training.sets, shared, strict=True)
        ]
        return TrainingData(tuple(sets)), notes
    return training, notes


def _shared_rows(training: TrainingSet, data: EvaluationData) -> list[int]:
    """Rows whose query the eval set has; of labelled rows, the pair of inputs that a label is about."""
    if isinstance(data, LabelledData):
        compared = min(training.content_keys.shape[1], len(data.inputs), _COMPARED)
        of_set = {frozenset(row) for row in zip(*(i.keys for i in data.inputs[:compared]), strict=True)}
        rows = [frozenset(k.decode() for k in row) for row in training.content_keys[:, :compared].tolist()]
        return [row for row, keys in enumerate(rows) if keys in of_set]
    queries = set(data.queries.keys)
    return [row for row, key in enumerate(training.content_keys[:, 0]) if key.decode() in queries]


def _note(training: TrainingSet, data: EvaluationData, rows: list[int], *, quoted: bool) -> str:
    """quoted: with the beginning of the first row; notes of a run go into its published card."""
    (column, *_) = training.input_columns
    shown = f": {_example(training.rows, rows[0], column)}" if quoted else ""
    what = "the inputs" if isinstance(data, LabelledData) else "a query"
    return (
        f"{len(rows)} of {len(training.rows)} rows of train set {training.name!r} have {what} of eval set"
        f" {data.name!r}{_with_answer(training, data, rows)}; the first is row {rows[0]}{shown}"
    )


def _example(rows: "datasets.Dataset", row: int, column: str) -> str:
    """The beginning of a text; of anything else its kind."""
    from finetune_trainer.data.features import modalities

    kinds = modalities(rows.features[column])
    if kinds != ("text",):
        return " and ".join(kinds)
    text = str(rows.select_columns([column])[row][column])
    return repr(text if len(text) <= _LONGEST_EXAMPLE else text[:_LONGEST_EXAMPLE] + "...")


def _with_answer(training: TrainingSet, data: EvaluationData, rows: list[int]) -> str:
    """How many of the rows have a positive that is relevant for the same query in the set."""
    if isinstance(data, LabelledData) or training.content_keys.shape[1] == 1:
        return ""
    id_of_query = dict(zip(data.queries.keys, data.queries.ids, strict=True))
    key_of_document = dict(zip(data.corpus.ids, data.corpus.keys, strict=True))
    answers = {
        (key, key_of_document[document])
        for key, query in id_of_query.items()
        for document in data.relevant[query]
    }
    pairs = (tuple(key.decode() for key in training.content_keys[row, :2]) for row in rows)
    return f", {sum(pair in answers for pair in pairs)} of them with an answer of it too"


def _without(training: TrainingSet, dropped: set[int]) -> TrainingSet:
    kept = [row for row in range(len(training.rows)) if row not in dropped]
    if not kept:
        raise InvalidData(
            "EmptyData",
            f"every row of train set {training.name!r} has a query of an eval set: nothing is left to train"
            " on",
        )
    return replace(
        training,
        rows=training.rows.select(kept),
        content_keys=training.content_keys[kept],
        dropped_rows=training.dropped_rows + len(dropped),
    )
