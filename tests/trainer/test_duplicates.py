from pathlib import Path
from typing import Any

import pytest

from finetune_trainer.data.duplicates import duplicate_notes
from finetune_trainer.data.inputs import TrainingData
from finetune_trainer.data.loading import load_training_data
from finetune_trainer.errors import InvalidData
from tests.trainer.builders import a_spec, pairs, places_in, write_jsonl, write_page


def loaded(folder: Path, rows: list[dict[str, Any]], **train: Any) -> TrainingData:
    places = places_in(folder)
    write_jsonl(places.volume("data") / "train.jsonl", rows)
    return load_training_data(a_spec(train=train), places)


def test_rows_that_repeat_an_earlier_one_are_counted(tmp_path: Path) -> None:
    data = loaded(tmp_path, [*pairs(3), *pairs(2), *pairs(1)])
    assert duplicate_notes(data) == ["3 of 6 rows of train set 'train' repeat an earlier row"]


def test_different_rows_are_not_worth_a_note(tmp_path: Path) -> None:
    assert duplicate_notes(loaded(tmp_path, pairs(3))) == []


def test_equal_inputs_with_another_label_are_another_row(tmp_path: Path) -> None:
    rows = [{"a": "x", "b": "y", "s": s} for s in (0.5, 1, 1)]
    data = loaded(tmp_path, rows, columns={"inputs": ["a", "b"], "label": "s"})
    assert duplicate_notes(data) == ["1 of 3 rows of train set 'train' repeat an earlier row"]


def test_a_set_of_one_row_again_and_again_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match="all 4 rows of train set 'train' are the same") as raised:
        loaded(tmp_path, pairs(1) * 4)
    assert raised.value.reason == "DuplicateRows"


def test_the_same_picture_under_two_names_is_the_same_row(tmp_path: Path) -> None:
    folder = places_in(tmp_path).volume("data")
    page = write_page(folder / "a.png", "a").read_bytes()
    (folder / "b.png").write_bytes(page)
    with pytest.raises(InvalidData, match="all 2 rows"):
        loaded(tmp_path, [{"q": "q", "p": "a.png"}, {"q": "q", "p": "b.png"}])


def test_one_row_alone_is_no_repetition(tmp_path: Path) -> None:
    assert loaded(tmp_path, pairs(1)).row_count == 1
