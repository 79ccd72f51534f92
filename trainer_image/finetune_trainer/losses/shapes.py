"""The shape of a train set: how many inputs a row has, and what its label can be taken for."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from finetune_api.loss_defaults import WORDS, Shape
from finetune_api.loss_table import LabelKind
from finetune_trainer.data.inputs import LABEL, TrainingSet
from finetune_trainer.errors import InvalidData

if TYPE_CHECKING:
    import pyarrow as pa


def label_column(data: TrainingSet) -> "pa.Array":
    """The labels as Arrow has them: vectors of a teacher are too many for objects of Python."""
    column = data.rows.select_columns([LABEL]).with_format("arrow")[:][LABEL]
    return column.combine_chunks()


def label_kinds(data: TrainingSet) -> list[LabelKind]:
    """Every kind that fits all labels, the most particular first; [] without a label.

    Raises InvalidData for labels that are missing, not finite, texts, or lists of different lengths.
    """
    if not data.label:
        return []
    labels = label_column(data)
    if labels.null_count:
        raise InvalidData(
            "LabelMissing",
            f"every row of train set {data.name!r} must have a label; {labels.null_count} of {len(labels)}"
            " have none",
            "remove those rows",
        )
    if is_list(labels):
        return _kinds_of_lists(data, labels)
    kinds = _kinds_of_numbers(data, labels)
    return ["Margins", *kinds] if len(data.input_columns) == 3 else kinds


def is_list(labels: "pa.Array") -> bool:
    """Of any of the types that Arrow has for lists."""
    return hasattr(labels, "flatten") and hasattr(labels.type, "value_type")


def _numbers(data: TrainingSet, values: "pa.Array") -> NDArray[Any]:
    import pyarrow as pa

    is_number = pa.types.is_integer(values.type) or pa.types.is_floating(values.type)
    if not (is_number or pa.types.is_boolean(values.type)) or values.null_count or not len(values):
        raise _not_numbers(data, values[0].as_py() if len(values) else "an empty list")
    numbers: NDArray[Any] = values.to_numpy(zero_copy_only=False)
    wrong = numbers[~np.isfinite(numbers)]
    if wrong.size:
        raise _not_numbers(data, wrong[0].item())
    return numbers


def _not_numbers(data: TrainingSet, found: Any) -> InvalidData:
    return InvalidData(
        "LabelNotANumber",
        f"labels of train set {data.name!r} must be finite numbers, or lists of them, found {found!r:.60}",
        "give whole numbers for classes, numbers for scores",
    )


def _kinds_of_numbers(data: TrainingSet, labels: "pa.Array") -> list[LabelKind]:
    numbers = _numbers(data, labels)
    low, high = numbers.min(), numbers.max()
    fits: dict[LabelKind, bool] = {
        "Binary": bool(np.isin(numbers, [0, 1]).all()),
        "Class": numbers.dtype.kind in "biu" and low >= 0,
        "Unit": low >= 0 and high <= 1,
        "Score": True,
    }
    return [kind for kind, fit in fits.items() if fit]


def has_lists(data: TrainingSet) -> bool:
    """Whether a row is a query and a list of documents."""
    features = data.rows.features
    return len(data.input_columns) == 2 and hasattr(features[data.input_columns[1]], "feature")


def _kinds_of_lists(data: TrainingSet, labels: "pa.Array") -> list[LabelKind]:
    values = labels.flatten()
    if is_list(values):
        _numbers(data, values.flatten())
        _one_length(data, values, "correct the label column")
        return ["Vector"]
    _numbers(data, values)
    if has_lists(data):
        _check_lists(data, labels)
        return ["Scores"]
    inputs = len(data.input_columns)
    hint = f"give {inputs - 1} scores a row, one for each document" if inputs > 2 else "correct the labels"
    length = _one_length(data, labels, hint)
    fits: dict[LabelKind, bool] = {
        "Scores": inputs > 2 and length == inputs - 1,
        "Margins": inputs > 2 and length == inputs - 2,
        "Vector": True,
    }
    return [kind for kind, fit in fits.items() if fit]


def _one_length(data: TrainingSet, lists: "pa.Array", hint: str) -> int:
    lengths = _lengths(lists)
    if lengths.min() < lengths.max():
        raise InvalidData(
            "LabelLengths",
            f"labels of train set {data.name!r} must be lists of one length, found {lengths.min()} to"
            f" {lengths.max()}",
            hint,
        )
    return int(lengths[0])


def _check_lists(data: TrainingSet, labels: "pa.Array") -> None:
    """A score for every document of a row."""
    name = data.input_columns[1]
    documents = data.rows.select_columns([name]).with_format("arrow")[:][name].combine_chunks()
    counts, scores = _lengths(documents), _lengths(labels)
    wrong = np.flatnonzero((counts != scores) | (counts == 0))
    if wrong.size:
        row = int(wrong[0])
        raise InvalidData(
            "LabelLengths",
            f"train set {data.name!r} must have a score for each document of a row: row {row} has"
            f" {counts[row]} documents and {scores[row]} scores ({wrong.size} such rows)",
            "correct those rows",
        )


def _lengths(lists: "pa.Array") -> NDArray[Any]:
    import pyarrow.compute as pc

    lengths: NDArray[Any] = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
    return lengths


def shape_of(data: TrainingSet, kinds: Sequence[LabelKind]) -> Shape:
    return Shape(len(data.input_columns), kinds[0] if kinds else None)


def found_text(data: TrainingSet, kinds: Sequence[LabelKind]) -> str:
    """For people: `2 input columns (query, positive) and no label`."""
    columns = data.input_columns
    label = f"labels ({WORDS[kinds[0]]})" if kinds else "no label"
    return f"{len(columns)} input column{'s' if len(columns) > 1 else ''} ({', '.join(columns)}) and {label}"
