import datasets
import numpy as np

from finetune_trainer.data.inputs import TrainingSet
from finetune_trainer.training.batches import BatchPlan, notes_on_batches


def a_set(rows: int) -> TrainingSet:
    table = datasets.Dataset.from_dict({"query": ["q"] * rows, "positive": ["p"] * rows})
    return TrainingSet("pages", table, False, np.empty((rows, 2), dtype="S32"), "sha256:0")


def test_rows_that_fit_into_no_batch_are_told() -> None:
    (note,) = notes_on_batches([a_set(400)], BatchPlan((), 6, (6,)), batch_size=20)
    assert note.startswith("an epoch trains 120 of 400 rows of train set 'pages'")


def test_a_last_batch_that_is_not_full_is_no_news() -> None:
    assert notes_on_batches([a_set(39)], BatchPlan((), 1, (1,)), batch_size=20) == []
    assert notes_on_batches([a_set(400)], BatchPlan((), 19, (19,)), batch_size=20) == []
