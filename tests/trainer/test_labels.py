"""Labels: numbers whatever the table writes them as, and of the form that a loss or an evaluator needs."""

import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_trainer.data.labels import LabelForm, check_labels, class_count, read_labels, require_labels
from finetune_trainer.data.loading import load_training_data
from finetune_trainer.errors import InvalidData
from tests.trainer.builders import a_spec, places_in, write_csv, write_jsonl

NUMBER, BINARY, CLASS = LabelForm("Number"), LabelForm("Binary"), LabelForm("Class")
SIMILARITY = LabelForm("Number", minimum=-1, maximum=1)


def refusal(labels: list[Any], form: LabelForm, **options: Any) -> str | None:
    try:
        check_labels(labels, form, "train set 'a'", **options)
    except InvalidData as error:
        return f"{error.reason}: {error.message}"
    return None


@pytest.mark.parametrize(
    ("cells", "labels"),
    [
        ([1, 0, 1], (1, 0, 1)),
        ([True, False], (1, 0)),
        (["1", "0"], (1, 0)),
        ([1, 0.5], (1.0, 0.5)),
        (["1", "0.5", "-2e-3"], (1.0, 0.5, -0.002)),
        ([[1, 2], [0.5]], ([1.0, 2.0], [0.5])),
        (["[1, 0.5]"], ([1.0, 0.5],)),
        ([[[1, 2], [3, 4]]], ([[1.0, 2.0], [3.0, 4.0]],)),
    ],
)
def test_numbers_and_texts_that_stand_for_them_are_labels(cells: list[Any], labels: tuple[Any, ...]) -> None:
    found = read_labels(cells, "s", "t")
    assert found == labels
    assert [type(label) for label in found] == [type(label) for label in labels]


@pytest.mark.parametrize(
    "cell",
    [
        "cat",
        "",
        "NaN",
        "Infinity",
        math.nan,
        math.inf,
        [],
        [1, "a"],
        [math.nan],
        [[1], ["a"]],
        [[]],
        {"a": 1},
        "10" * 400,
    ],
)
def test_what_is_no_finite_number_is_refused_with_its_row(cell: Any) -> None:
    with pytest.raises(InvalidData, match=r"row 1, label of column 's' of t must be a number or a list"):
        read_labels([1, cell], "s", "t")


def test_numbers_and_lists_in_one_column_are_refused() -> None:
    with pytest.raises(InvalidData, match=r"row 2, .* of one kind"):
        read_labels([1, 2, [3]], "s", "t")


@given(st.lists(st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**31), 2**31))))
def test_numbers_come_back_as_they_are_through_json(numbers: list[float]) -> None:
    assert read_labels([repr(n) for n in numbers], "s", "t") == pytest.approx(tuple(numbers))


@pytest.mark.parametrize(
    ("labels", "form", "message"),
    [
        (
            [0.5, 1.2],
            SIMILARITY,
            "BadLabel: row 1, label of train set 'a' must be a number of at least -1 and at most",
        ),
        ([0, 1, 2], BINARY, "row 2, label of train set 'a' must be 0 or 1, found 2"),
        ([0, 0.5], BINARY, "must be 0 or 1"),
        ([0, 1.5], CLASS, "must be a class: a whole number from 0"),
        ([0, -1], CLASS, "row 1"),
        ([0, 2], CLASS, "must have a row of every class from 0 to 2, found none of class 1"),
        ([0, 10**9], CLASS, "row 1"),
        ([0.5], LabelForm("Numbers"), "must be a list of numbers"),
        ([[1.0]], NUMBER, "must be a number"),
        ([[1.0, 2.0], [1.0]], LabelForm("Numbers"), "row 1, .* a list of 2 numbers, found 1"),
        ([[1.0]], LabelForm("Numbers", length=3), "a list of 3 numbers"),
        ([[2.0]], LabelForm("Numbers", maximum=1), "at most 1"),
    ],
)
def test_labels_of_another_form_are_refused(labels: list[Any], form: LabelForm, message: str) -> None:
    assert re.search(message, refusal(labels, form) or "accepted")


def test_lists_must_score_every_document_of_their_row() -> None:
    form = LabelForm("Numbers", length="documents")
    assert refusal([[1.0, 0.0], [1.0]], form, documents=[2, 1]) is None
    assert "row 1" in (refusal([[1.0, 0.0], [1.0]], form, documents=[2, 2]) or "accepted")


def test_right_labels_pass() -> None:
    assert refusal([0.5, -1.0, 1], SIMILARITY) is None
    assert refusal([0, 1, 1.0], BINARY) is None
    assert refusal([2, 0, 1], CLASS) is None
    assert class_count([2, 0, 1]) == 3


def test_a_set_without_labels_is_told_to_the_loss_that_needs_them(tmp_path: Path) -> None:
    places = places_in(tmp_path)
    write_jsonl(places.volume("data") / "train.jsonl", [{"a": "x", "b": "y"}])
    (one,) = load_training_data(a_spec(train={"columns": {"inputs": ["a", "b"]}}), places).sets
    with pytest.raises(InvalidData, match="train set 'train' must have labels, each 0 or 1") as raised:
        require_labels(one, BINARY)
    assert raised.value.reason == "MissingLabel"


def test_labels_of_a_csv_come_last_as_numbers(tmp_path: Path) -> None:
    places = places_in(tmp_path)
    write_csv(places.volume("data") / "train.csv", [{"s": "0.5", "a": "x", "b": "y"}])
    train = {"uri": "pvc://data/train.csv", "columns": {"inputs": ["a", "b"], "label": "s"}}
    (one,) = load_training_data(a_spec(train=train), places).sets
    assert one.label
    assert one.input_columns == ["input_0", "input_1"]
    assert list(one.rows[0].items()) == [("input_0", "x"), ("input_1", "y"), ("label", 0.5)]
    require_labels(one, SIMILARITY)
