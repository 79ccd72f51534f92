import datasets
import numpy as np
import pytest

from finetune_trainer.data.inputs import TrainingData, TrainingSet
from finetune_trainer.data.labelled_pairs import with_labelled_pairs
from tests.trainer.builders import a_spec

ROWS = datasets.Dataset.from_dict(
    {"query": ["q0", "q1"], "positive": ["p0", "p1"], "negative_0": ["n0", "n1"], "negative_1": ["m0", "m1"]}
)


def a_set(columns: list[str]) -> TrainingSet:
    rows = ROWS.select_columns(columns)
    keys = np.array([[rows[row][c] for c in columns] for row in range(2)], dtype="S32")
    return TrainingSet(name="train", rows=rows, label=False, content_keys=keys, digest="sha256:0")


def made(columns: list[str], *, model: str = "Reranker", loss: str = "BinaryCrossEntropyLoss") -> TrainingSet:
    spec = a_spec(model={"type": model}, loss={"name": loss}, measure="Reranking")
    return with_labelled_pairs(TrainingData((a_set(columns),)), spec).sets[0]


def test_every_document_becomes_a_row_that_says_whether_it_answers() -> None:
    one = made(["query", "positive", "negative_0", "negative_1"])
    assert one.rows.column_names == ["input_0", "input_1", "label"]
    assert [tuple(row.values()) for row in one.rows] == [
        ("q0", "p0", 1.0), ("q1", "p1", 1.0),
        ("q0", "n0", 0.0), ("q1", "n1", 0.0),
        ("q0", "m0", 0.0), ("q1", "m1", 0.0),
    ]  # fmt: skip
    assert one.content_keys.tolist() == [[q.encode(), d.encode()] for q, d, _ in
                                         (tuple(row.values()) for row in one.rows)]  # fmt: skip
    assert one.label


@pytest.mark.parametrize(
    ("columns", "model", "loss"),
    {
        "without negatives nothing would be 0": (["query", "positive"], "Reranker", "BinaryCrossEntropyLoss"),
        "a loss over lists takes them as they are": (
            ["query", "positive", "negative_0"], "Reranker", "CachedMultipleNegativesRankingLoss",
        ),
    }.values(),
)  # fmt: skip
def test_other_sets_stay_as_they_are(columns: list[str], model: str, loss: str) -> None:
    assert made(columns, model=model, loss=loss).rows.column_names == columns
