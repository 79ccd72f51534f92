"""Rows that repeat each other: a few are said, and a set that has nothing but one row is no data. Pure."""

import numpy as np

from finetune_trainer.data.inputs import TrainingData, TrainingSet
from finetune_trainer.data.labels import labels_of
from finetune_trainer.errors import InvalidData


def refuse_single_content(training: TrainingData) -> None:
    """Raises InvalidData("DuplicateRows") for a set of several rows that are all the same."""
    for one in training.sets:
        if len(one.rows) > 1 and repeated_rows(one) == len(one.rows) - 1:
            raise InvalidData(
                "DuplicateRows",
                f"all {len(one.rows)} rows of train set {one.name!r} are the same: there is nothing to learn",
                "correct `uri`, `split` or `columns`",
            )


def duplicate_notes(training: TrainingData) -> list[str]:
    """A note for every set in which rows repeat earlier ones."""
    repeated = [(one, repeated_rows(one)) for one in training.sets]
    return [
        f"{count} of {len(one.rows)} rows of train set {one.name!r} repeat an earlier row"
        for one, count in repeated
        if count
    ]


def repeated_rows(one: TrainingSet) -> int:
    """Rows whose inputs and label all stand in an earlier row too."""
    labels = labels_of(one)
    rows = one.content_keys
    if labels is not None:
        texts = np.array([str(label).encode() for label in labels])
        rows = np.column_stack([rows, texts])
    return len(rows) - len(np.unique(rows, axis=0))
