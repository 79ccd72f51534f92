from pathlib import Path
from typing import Literal

import pytest

from finetune_trainer.data import load_evaluation_data, load_training_data, resolve_overlap
from finetune_trainer.errors import InvalidData
from finetune_trainer.inputs import EvaluationData, TrainingData
from tests.trainer.builders import Row, a_spec, pairs, places_in, write_jsonl

Policy = Literal["Fail", "Warn", "Drop"]
Loaded = tuple[TrainingData, dict[str, EvaluationData]]


def loaded(folder: Path, train: list[dict[str, str]], dev: list[dict[str, str]]) -> Loaded:
    places = places_in(folder)
    write_jsonl(places.volume("data") / "train.jsonl", train)
    write_jsonl(places.volume("data") / "dev.jsonl", dev)
    return load_training_data(a_spec(), places), load_evaluation_data(a_spec(), places)


SHARED: Row = {"q": "invoice number 1", "p": "another answer"}


@pytest.mark.parametrize("policy", ["Fail", "Warn", "Drop"])
def test_data_without_shared_queries_pass_as_they_are(tmp_path: Path, policy: Policy) -> None:
    training, evaluation = loaded(tmp_path, pairs(3), pairs(3, start=3))
    assert resolve_overlap(training, evaluation, policy) == (training, [])


def test_a_shared_document_is_no_overlap(tmp_path: Path) -> None:
    dev = [{"q": "a new question", "p": pairs(1)[0]["p"]}]
    training, evaluation = loaded(tmp_path, pairs(3), dev)
    assert resolve_overlap(training, evaluation, "Fail")[1] == []


def test_fail_names_the_count_the_set_and_one_short_example(tmp_path: Path) -> None:
    train = [{"q": "x" * 500, "p": "same"}, *pairs(2)]
    training, evaluation = loaded(tmp_path, train, [train[0], dict(SHARED)])
    with pytest.raises(InvalidData) as raised:
        resolve_overlap(training, evaluation, "Fail")
    assert raised.value.reason == "Overlap"
    assert raised.value.message == (
        "2 of 3 rows of train set 'train' have a query of eval set 'dev', 1 of them with an answer of it too;"
        f" the first is row 0: '{'x' * 40}...'"
    )


def test_warn_keeps_the_rows_and_says_so(tmp_path: Path) -> None:
    training, evaluation = loaded(tmp_path, pairs(3), [dict(SHARED)])
    kept, notes = resolve_overlap(training, evaluation, "Warn")
    assert len(kept.sets[0].rows) == 3
    assert "1 of 3 rows of train set" in notes[0]


def test_drop_leaves_the_rows_out_with_their_keys_and_counts_them(tmp_path: Path) -> None:
    training, evaluation = loaded(tmp_path, pairs(3), [dict(SHARED)])
    kept, notes = resolve_overlap(training, evaluation, "Drop")
    assert kept.sets[0].rows["query"][:] == ["invoice number 0", "invoice number 2"]
    assert kept.sets[0].content_keys.tolist() == training.sets[0].content_keys[[0, 2]].tolist()
    assert (kept.dropped_rows, len(notes)) == (1, 1)


def test_drop_refuses_to_leave_nothing(tmp_path: Path) -> None:
    training, evaluation = loaded(tmp_path, pairs(2), pairs(2))
    with pytest.raises(InvalidData, match="nothing is left to train on"):
        resolve_overlap(training, evaluation, "Drop")
