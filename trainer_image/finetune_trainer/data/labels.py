"""Labels: read as numbers with the table, and held against what a loss or an evaluator needs. Pure."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from finetune_trainer.data.inputs import LABEL, LabelledData, TrainingSet
from finetune_trainer.errors import InvalidData

Label = int | float | list[float] | list[list[float]]
_LONGEST = 40
_OF_A_CLASS = 1_000_000
"""Highest class index believed; a larger one is an id in the wrong column."""


@dataclass(frozen=True)
class LabelForm:
    """What labels must be.

    kind: Number, Binary (0 or 1), Class (0, 1, 2... each with at least one row), or Numbers (a list).
    minimum, maximum: of every number. length: of every list; "equal": all as long as the first;
    "documents": as many as the row has documents, given to `check_labels`.
    """

    kind: Literal["Number", "Binary", "Class", "Numbers"]
    minimum: float = -math.inf
    maximum: float = math.inf
    length: int | Literal["equal", "documents"] = "equal"

    @property
    def wanted(self) -> str:
        words = {
            "Number": "a number",
            "Binary": "0 or 1",
            "Class": "a class: a whole number from 0",
            "Numbers": "a list of numbers",
        }
        bounds = [] if self.minimum == -math.inf else [f"at least {self.minimum:g}"]
        bounds += [] if self.maximum == math.inf else [f"at most {self.maximum:g}"]
        return words[self.kind] + (f" of {' and '.join(bounds)}" if bounds else "")


def require_labels(
    data: TrainingSet | LabelledData, form: LabelForm, *, documents: Sequence[int] | None = None
) -> None:
    """Raises InvalidData unless every row has a label of this form.

    documents: how many documents each row has, for lists that score them.
    """
    where = f"train set {data.name!r}" if isinstance(data, TrainingSet) else f"eval set {data.name!r}"
    labels = labels_of(data)
    if labels is None:
        raise InvalidData(
            "MissingLabel",
            f"{where} must have labels, each {form.wanted}; found no `columns.label`",
            "name the column of labels as `columns.label`, or take a loss or evaluator that needs none",
        )
    check_labels(labels, form, where, documents=documents)


def labels_of(data: TrainingSet | LabelledData) -> Sequence[Any] | None:
    """One label a row; None where the set has none."""
    if isinstance(data, LabelledData):
        return data.labels
    labels: list[Any] | None = data.rows[LABEL][:] if data.label else None
    return labels


def class_count(labels: Sequence[int]) -> int:
    """Of labels of the form Class."""
    return max(labels) + 1


def check_labels(
    labels: Sequence[Any], form: LabelForm, where: str, *, documents: Sequence[int] | None = None
) -> None:
    """Raises InvalidData("BadLabel") for the first label that does not fit."""
    fits = _FITS[form.kind]
    for row, label in enumerate(labels):
        if not fits(label, form):
            raise _bad(row, where, form.wanted, label)
    if form.kind == "Class":
        _require_all_classes(labels, where)
    if form.kind == "Numbers":
        _require_lengths(labels, form, where, documents)


def _bad(row: int, where: str, wanted: str, found: object) -> InvalidData:
    text = str(found)
    shown = text if len(text) <= _LONGEST else text[:_LONGEST] + "..."
    return InvalidData(
        "BadLabel",
        f"row {row}, label of {where} must be {wanted}, found {shown}",
        "correct the label, or name another column as `columns.label`",
    )


def _is_number(label: Any, form: LabelForm) -> bool:
    return isinstance(label, int | float) and form.minimum <= label <= form.maximum


def _is_class(label: Any, _: LabelForm) -> bool:
    return isinstance(label, int) and 0 <= label <= _OF_A_CLASS


def _is_list(label: Any, form: LabelForm) -> bool:
    return isinstance(label, list) and all(_is_number(n, form) for n in label)


_FITS: dict[str, Callable[[Any, LabelForm], bool]] = {
    "Number": _is_number,
    "Binary": lambda label, _: label in (0, 1),
    "Class": _is_class,
    "Numbers": _is_list,
}


def _require_all_classes(labels: Sequence[int], where: str) -> None:
    absent = set(range(class_count(labels))) - set(labels)
    if absent:
        raise InvalidData(
            "BadLabel",
            f"{where} must have a row of every class from 0 to {max(labels)}, found none of class"
            f" {min(absent)}",
            "number the classes without a gap",
        )


def _require_lengths(
    labels: Sequence[list[float]], form: LabelForm, where: str, documents: Sequence[int] | None
) -> None:
    for row, label in enumerate(labels):
        wanted = form.length
        if wanted == "documents":
            wanted = documents[row] if documents is not None else len(label)
        elif wanted == "equal":
            wanted = len(labels[0])
        if len(label) != wanted:
            raise _bad(row, where, f"a list of {wanted} numbers", f"{len(label)}: {label}")


def read_labels(cells: Sequence[Any], column: str, where: str) -> tuple[Label, ...]:
    """Cells as numbers, as lists of numbers, or as lists of these: an embedding for each input.

    Texts that stand for them are read too, since CSV has nothing else. All are of one kind: whole numbers
    stay whole where all are. Raises InvalidData("BadLabel").
    """
    labels = [_read(cell, row, f"column {column!r} of {where}") for row, cell in enumerate(cells)]
    lists = [isinstance(label, list) for label in labels]
    if any(lists) and not all(lists):
        raise _bad(lists.index(not lists[0]), where, "of one kind: all numbers, or all lists", "both")
    if not any(lists) and any(isinstance(label, float) for label in labels):
        return tuple(float(label) for label in labels if not isinstance(label, list))
    return tuple(labels)


def _read(cell: Any, row: int, where: str) -> Label:
    value = cell
    if isinstance(cell, str):
        try:
            value = json.loads(cell)
        except ValueError:
            value = None
    if isinstance(value, list) and _are_finite(value):
        return [float(n) for n in value]
    if isinstance(value, list) and value and all(isinstance(v, list) and _are_finite(v) for v in value):
        return [[float(n) for n in numbers] for numbers in value]
    if _is_finite(value):
        return int(value) if isinstance(value, bool) else value
    raise _bad(row, where, "a number or a list of numbers", cell)


def _are_finite(values: list[Any]) -> bool:
    return bool(values) and all(_is_finite(n) for n in values)


def _is_finite(value: Any) -> bool:
    try:
        return isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:
        return False
