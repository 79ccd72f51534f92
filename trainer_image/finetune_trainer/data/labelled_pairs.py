"""Rows of query, positive and negatives as pairs with 1 or 0: what a reranker's binary loss is trained on.

Negatives, mined ones above all, come as columns beside the positive; without this a spec could not have both.
"""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from finetune_api.loss_table import LOSSES
from finetune_api.spec import FinetuneSpec
from finetune_trainer.data.inputs import LABEL, TrainingData, TrainingSet

if TYPE_CHECKING:
    import datasets


def with_labelled_pairs(training: TrainingData, spec: FinetuneSpec) -> TrainingData:
    """The sets, those unrolled whose loss wants pairs with a label and whose rows hold several documents."""
    return TrainingData(tuple(_unrolled(s) if _is_for(s, spec) else s for s in training.sets))


def _is_for(one: TrainingSet, spec: FinetuneSpec) -> bool:
    name = (one.loss or spec.loss).name
    takes_pairs = name is not None and LOSSES[spec.model.type][name].pairs
    return takes_pairs and "negative_0" in one.input_columns and not one.label


def _unrolled(one: TrainingSet) -> TrainingSet:
    """A row for each document of a row, the positives first."""
    import datasets

    query, *documents = one.input_columns
    pairs = [_pairs(one.rows, query, document) for document in documents]
    keys = [one.content_keys[:, [0, column]] for column in range(1, len(one.input_columns))]
    return replace(
        one, rows=datasets.concatenate_datasets(pairs), label=True, content_keys=np.concatenate(keys)
    )


def _pairs(rows: "datasets.Dataset", query: str, document: str) -> "datasets.Dataset":
    labels = [float(document == "positive")] * len(rows)
    pairs = rows.select_columns([query, document]).rename_columns({query: "input_0", document: "input_1"})
    return pairs.add_column(LABEL, labels)
