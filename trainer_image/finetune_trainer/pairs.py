"""Tables of pairs: rows to train on, and sets to measure on in which equal content is one document.

One id per row would cap a perfect score: with two rows of one page, only one of them can rank first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from finetune_api.data import Columns, TrainSet
from finetune_trainer.digests import content_digest
from finetune_trainer.inputs import Cells, Collection, EvaluationData, TrainingData
from finetune_trainer.places import Places
from finetune_trainer.tables import Column, read_table


@dataclass(frozen=True)
class Roles:
    """Columns by role, all of one length."""

    query: Column
    positive: Column
    negatives: tuple[Column, ...]

    @property
    def all(self) -> tuple[Column, ...]:
        return (self.query, self.positive, *self.negatives)

    @property
    def names(self) -> tuple[str, ...]:
        return ("query", "positive", *(f"negative_{i}" for i in range(len(self.negatives))))

    @property
    def digest(self) -> str:
        """Of every cell with its role and row."""
        return content_digest(
            part for name, c in zip(self.names, self.all, strict=True) for part in (name, *c.keys)
        )


def _read_roles(source: TrainSet, places: Places) -> Roles:
    columns: Columns = source.columns
    table = read_table(source, places, columns.all)
    read = {name: table.column(name) for name in dict.fromkeys(columns.all)}
    return Roles(read[columns.query], read[columns.positive], tuple(read[n] for n in columns.negatives))


def load_training_pairs(source: TrainSet, places: Places) -> TrainingData:
    """Rows of exactly query, positive, negative_0...; images are decoded when they are looked at."""
    import datasets

    roles = _read_roles(source, places)
    columns = [
        c.cells.rename_column(c.name, name) if c.name != name else c.cells
        for name, c in zip(roles.names, roles.all, strict=True)
    ]
    keys = np.array([c.keys for c in roles.all], dtype="S32").T
    return TrainingData(datasets.concatenate_datasets(columns, axis=1), keys, roles.digest)


def load_evaluation_pairs(source: TrainSet, places: Places) -> EvaluationData:
    """Every different query with all its positives; every different positive and negative is the corpus."""
    roles = _read_roles(source, places)
    documents = (roles.positive, *roles.negatives)
    query_ids, queries = _number("q", [roles.query])
    document_ids, corpus = _number("d", documents)
    relevant: dict[str, set[str]] = {}
    for query, positive in zip(roles.query.keys, roles.positive.keys, strict=True):
        relevant.setdefault(query_ids[query], set()).add(document_ids[positive])
    return EvaluationData(
        name=source.name,
        queries=queries,
        corpus=corpus,
        relevant={q: frozenset(d) for q, d in relevant.items()},
        unjudged_queries=0,
        digest=roles.digest,
    )


def _number(letter: str, columns: Sequence[Column]) -> tuple[dict[str, str], Collection]:
    """Ids by content key, and the different contents with their ids, in the order they are met.

    Ids have one width, so that they sort as they were met.
    """
    first: dict[str, tuple[int, int]] = {}
    for number, column in enumerate(columns):
        for row, key in enumerate(column.keys):
            first.setdefault(key, (number, row))
    width = len(str(len(first)))
    ids = {key: f"{letter}{n:0{width}}" for n, key in enumerate(first)}
    cells = Cells([c.cells for c in columns], tuple(first.values()))
    return ids, Collection(tuple(ids.values()), cells, tuple(first))
