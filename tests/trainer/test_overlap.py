from pathlib import Path
from typing import Any, Literal

import pytest

from finetune_api.spec import FinetuneSpec
from finetune_trainer.data.inputs import EvaluationData, TrainingData
from finetune_trainer.data.loading import load_evaluation_data, load_training_data
from finetune_trainer.data.overlap import resolve_overlap
from finetune_trainer.errors import InvalidData
from tests.trainer.builders import Row, a_spec, pairs, places_in, write_jsonl, write_page

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


# Several sets, inputs without roles, media


def test_every_train_set_is_held_against_every_eval_set(tmp_path: Path) -> None:
    places = places_in(tmp_path)
    data = places.volume("data")
    write_jsonl(data / "train.jsonl", pairs(3))
    write_jsonl(
        data / "more.jsonl", [{"a": "invoice number 1", "b": "something"}, {"a": "new", "b": "words"}]
    )
    write_jsonl(data / "dev.jsonl", [dict(SHARED)])
    spec = a_spec().to_dict()
    more = {"name": "more", "uri": "pvc://data/more.jsonl", "columns": {"inputs": ["a", "b"]}}
    spec["data"]["train"].append(more)
    both = FinetuneSpec.model_validate(spec)
    training, evaluation = load_training_data(both, places), load_evaluation_data(both, places)
    kept, notes = resolve_overlap(training, evaluation, "Drop")
    assert [len(s.rows) for s in kept.sets] == [2, 1]
    assert [s.dropped_rows for s in kept.sets] == [1, 1]
    assert kept.dropped_rows == 2
    assert "train set 'train'" in notes[0]
    assert "train set 'more'" in notes[1]


def labelled(folder: Path, train: list[dict[str, Any]], dev: list[dict[str, Any]]) -> Loaded:
    places = places_in(folder)
    write_jsonl(places.volume("data") / "train.jsonl", train)
    write_jsonl(places.volume("data") / "dev.jsonl", dev)
    columns = {"inputs": ["a", "b"], "label": "s"}
    both = a_spec(
        train={"columns": columns},
        dev={"name": "dev", "uri": "pvc://data/dev.jsonl", "columns": columns},
        measure="EmbeddingSimilarity",
    )
    return load_training_data(both, places), load_evaluation_data(both, places)


def test_pairs_overlap_in_either_order_whatever_their_label(tmp_path: Path) -> None:
    train = [
        {"a": "one", "b": "two", "s": 1},
        {"a": "one", "b": "three", "s": 0},
        {"a": "two", "b": "one", "s": 0},
    ]
    training, evaluation = labelled(tmp_path, train, [{"a": "one", "b": "two", "s": 0}])
    with pytest.raises(InvalidData) as raised:
        resolve_overlap(training, evaluation, "Fail")
    assert raised.value.message == (
        "2 of 3 rows of train set 'train' have the inputs of eval set 'dev'; the first is row 0: 'one'"
    )


def test_an_image_that_was_trained_on_is_found_in_the_queries_again(tmp_path: Path) -> None:
    places = places_in(tmp_path)
    data = places.volume("data")
    for name in ("a", "b", "c"):
        write_page(data / f"{name}.png", name)
    (data / "again.png").write_bytes((data / "b.png").read_bytes())
    write_jsonl(data / "train.jsonl", [{"q": "a.png", "p": "x"}, {"q": "b.png", "p": "y"}])
    write_jsonl(data / "dev.jsonl", [{"q": "again.png", "p": "y"}, {"q": "c.png", "p": "z"}])
    training, evaluation = load_training_data(a_spec(), places), load_evaluation_data(a_spec(), places)
    with pytest.raises(InvalidData, match="the first is row 1: image"):
        resolve_overlap(training, evaluation, "Fail")
    kept, (note,) = resolve_overlap(training, evaluation, "Drop")
    assert len(kept.sets[0].rows) == 1
    assert note.endswith("1 of them with an answer of it too; the first is row 1")


def test_one_set_for_two_evaluators_is_told_once(tmp_path: Path) -> None:
    training, evaluation = loaded(tmp_path, pairs(3), [dict(SHARED)])
    _, notes = resolve_overlap(training, {"first": evaluation["dev"], "second": evaluation["dev"]}, "Warn")
    assert len(notes) == 1


def test_triplets_overlap_with_pairs_by_query_and_positive(tmp_path: Path) -> None:
    places = places_in(tmp_path)
    write_jsonl(places.volume("data") / "train.jsonl", pairs(3))
    write_jsonl(places.volume("data") / "dev.jsonl", [pairs(1)[0], {**pairs(2)[1], "p": "another answer"}])
    columns = {"query": "q", "positive": "p", "negatives": ["n"]}
    dev = {"name": "dev", "uri": "pvc://data/dev.jsonl", "columns": columns}
    both = a_spec(dev=dev, measure="Triplet")
    training, evaluation = load_training_data(both, places), load_evaluation_data(both, places)
    (note,) = resolve_overlap(training, evaluation, "Warn")[1]
    assert note.startswith("1 of 3 rows of train set 'train' have the inputs of eval set 'dev'")
