"""The shape of a train set: how many inputs a row has, and what its label can be taken for."""

import math
from collections.abc import Sequence
from typing import Any

from finetune_api.loss_defaults import WORDS, Shape
from finetune_api.loss_table import LabelKind
from finetune_trainer.errors import InvalidData
from finetune_trainer.inputs import LABEL, TrainingSet


def label_kinds(data: TrainingSet) -> list[LabelKind]:
    """Every kind that fits all labels, the most particular first; [] without a label.

    Raises InvalidData for labels that are missing, not finite, texts, or lists of different lengths.
    """
    if not data.label:
        return []
    labels = data.rows.with_format(None)[LABEL][:]
    _check_present(data, labels)
    inputs = len(data.input_columns)
    if isinstance(labels[0], list):
        return _kinds_of_lists(data, labels)
    kinds = _kinds_of_numbers(data, labels)
    return ["Margins", *kinds] if inputs == 3 else kinds


def _check_present(data: TrainingSet, labels: Sequence[Any]) -> None:
    missing = sum(label is None for label in labels)
    if missing:
        raise InvalidData(
            "LabelMissing",
            f"every row of train set {data.name!r} must have a label; {missing} of {len(labels)} have none",
            "remove those rows",
        )


def _kinds_of_numbers(data: TrainingSet, labels: Sequence[Any]) -> list[LabelKind]:
    wrong = [v for v in labels if not isinstance(v, int | float) or not math.isfinite(v)]
    if wrong:
        raise InvalidData(
            "LabelNotANumber",
            f"labels of train set {data.name!r} must be finite numbers, or lists of them, found"
            f" {wrong[0]!r:.60}",
            "give whole numbers for classes, numbers for scores",
        )
    whole = all(isinstance(v, int) for v in labels)
    low, high = min(labels), max(labels)
    fits: dict[LabelKind, bool] = {
        "Binary": set(labels) <= {0, 1},
        "Class": whole and low >= 0,
        "Unit": low >= 0 and high <= 1,
        "Score": True,
    }
    return [kind for kind, fit in fits.items() if fit]


def has_lists(data: TrainingSet) -> bool:
    """Whether a row is a query and a list of documents."""
    features = data.rows.features
    return len(data.input_columns) == 2 and hasattr(features[data.input_columns[1]], "feature")


def _kinds_of_lists(data: TrainingSet, labels: Sequence[Any]) -> list[LabelKind]:
    flat = [v for label in labels for v in (label if isinstance(label, list) else [label])]
    nested = bool(flat) and isinstance(flat[0], list)
    numbers = [v for item in flat for v in item] if nested else flat
    if not numbers or not all(isinstance(v, int | float) and math.isfinite(v) for v in numbers):
        raise InvalidData(
            "LabelNotANumber",
            f"labels of train set {data.name!r} must be lists of finite numbers",
            "correct the label column",
        )
    if nested:
        return ["Vector"]
    return ["Scores"] if has_lists(data) else _kinds_of_flat_lists(data, {len(label) for label in labels})


def _kinds_of_flat_lists(data: TrainingSet, lengths: set[int]) -> list[LabelKind]:
    inputs = len(data.input_columns)
    if len(lengths) > 1:
        raise InvalidData(
            "LabelLengths",
            f"labels of train set {data.name!r} must be lists of one length, found {min(lengths)} to"
            f" {max(lengths)}",
            f"give {inputs - 1} scores a row, one for each document" if inputs > 2 else "correct the labels",
        )
    (length,) = lengths
    fits: dict[LabelKind, bool] = {
        "Scores": inputs > 2 and length == inputs - 1,
        "Margins": inputs > 2 and length == inputs - 2,
        "Vector": True,
    }
    return [kind for kind, fit in fits.items() if fit]


def shape_of(data: TrainingSet, kinds: Sequence[LabelKind]) -> Shape:
    return Shape(len(data.input_columns), kinds[0] if kinds else None)


def found_text(data: TrainingSet, kinds: Sequence[LabelKind]) -> str:
    """For people: `2 input columns (query, positive) and no label`."""
    columns = data.input_columns
    label = f"labels ({WORDS[kinds[0]]})" if kinds else "no label"
    return f"{len(columns)} input column{'s' if len(columns) > 1 else ''} ({', '.join(columns)}) and {label}"
