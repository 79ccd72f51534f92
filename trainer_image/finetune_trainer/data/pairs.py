"""Tables with columns by role: rows to train on, and sets to measure on.

In a set of rankings equal content is one document. One id per row would cap a perfect score: with two rows of
one page, only one of them can rank first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from finetune_api.data import TrainSet
from finetune_trainer.data.columns import Column
from finetune_trainer.data.inputs import LABEL, Cells, Collection, LabelledData, RetrievalData, TrainingSet
from finetune_trainer.data.labels import Label, read_labels
from finetune_trainer.data.tables import Table, read_table
from finetune_trainer.digests import content_digest
from finetune_trainer.errors import InvalidData
from finetune_trainer.places import Places


@dataclass(frozen=True)
class Rows:
    """A table by role. inputs: by the name of their role, all of one length; labels: one a row."""

    inputs: dict[str, Column]
    labels: tuple[Label, ...] | None
    groups: tuple[str, ...] | None

    @property
    def digest(self) -> str:
        """Of every cell with its role and row."""
        parts = [part for name, c in self.inputs.items() for part in (name, *c.keys)]
        labels = [] if self.labels is None else [LABEL, *map(repr, self.labels)]
        return content_digest([*parts, *labels])


def _read_rows(
    source: TrainSet, places: Places, group_by: str | None = None, *, lists: tuple[str, ...] = ("input",)
) -> Rows:
    """lists: how the roles begin that may hold lists of inputs."""
    columns = source.columns
    grouped = [group_by] if group_by else []
    table = read_table(source, places, [*columns.all, *grouped], max_rows=source.max_rows)
    read = {name: table.column(name) for name in dict.fromkeys(columns.inputs_by_name.values())}
    inputs = {role: read[name] for role, name in columns.inputs_by_name.items()}
    for role, column in inputs.items():
        if column.items is not None and not role.startswith(lists):
            raise InvalidData(
                "UnsupportedCell",
                f"column {column.name!r} of {table.where} holds lists; as {role!r} it must hold one input"
                " a row",
                "name the column under `inputs`, or give each item a row of its own",
            )
    return Rows(
        inputs=inputs,
        labels=read_labels(table.values(label), label, table.where) if (label := columns.label) else None,
        groups=_groups(table, group_by),
    )


def _groups(table: Table, column: str | None) -> tuple[str, ...] | None:
    return tuple(str(v) for v in table.values(column)) if column else None


def load_training_set(source: TrainSet, places: Places) -> TrainingSet:
    """The rows of a train set; media are decoded when they are looked at."""
    import datasets

    rows = _read_rows(source, places)
    columns = [
        c.cells.rename_column(c.name, role) if c.name != role else c.cells for role, c in rows.inputs.items()
    ]
    if rows.labels is not None:
        columns.append(datasets.Dataset.from_dict({LABEL: list(rows.labels)}))
    return TrainingSet(
        name=source.name,
        rows=datasets.concatenate_datasets(columns, axis=1),
        label=rows.labels is not None,
        content_keys=np.array([c.keys for c in rows.inputs.values()], dtype="S32").T,
        digest=rows.digest,
        loss=source.loss,
    )


def load_labelled(source: TrainSet, places: Places, group_by: str | None) -> LabelledData:
    """The set row by row, its ids the numbers of the rows."""
    rows = _read_rows(source, places, group_by)
    length = len(next(iter(rows.inputs.values())).keys)
    ids = tuple(f"r{n:0{len(str(length))}}" for n in range(length))
    return LabelledData(
        name=source.name,
        inputs=tuple(_collection(c, ids) for c in rows.inputs.values()),
        labels=rows.labels,
        digest=rows.digest,
        groups=rows.groups,
    )


def _collection(column: Column, ids: tuple[str, ...]) -> Collection:
    return Collection(ids, Cells([column.cells], [(0, row) for row in range(len(ids))]), column.keys)


def load_rankings(source: TrainSet, places: Places, group_by: str | None) -> RetrievalData:
    """Every different query with all its positives; every different positive and negative is the corpus."""
    rows = _read_rows(source, places, group_by, lists=("positive", "negative"))
    query, documents = rows.inputs["query"], _without_query(rows)
    query_ids, queries = _number("q", [query])
    document_ids, corpus = _number("d", [_items(c) for c in documents.values()])
    relevant: dict[str, set[str]] = {}
    candidates: dict[str, dict[str, None]] = {}
    for role, column in documents.items():
        for one, keys in zip(query.keys, _keys_by_row(column), strict=True):
            found = [document_ids[key] for key in keys]
            candidates.setdefault(query_ids[one], {}).update(dict.fromkeys(found))
            if role == "positive":
                relevant.setdefault(query_ids[one], set()).update(found)
    return RetrievalData(
        name=source.name,
        queries=queries,
        corpus=corpus,
        relevant={q: frozenset(d) for q, d in relevant.items()},
        unjudged_queries=0,
        digest=rows.digest,
        groups=None if rows.groups is None else _first_of_each(query.keys, rows.groups),
        candidates={q: tuple(d) for q, d in candidates.items()},
    )


def _without_query(rows: Rows) -> dict[str, Column]:
    return {role: column for role, column in rows.inputs.items() if role != "query"}


def _items(column: Column) -> Column:
    """All items of a column of lists; any other column is its own items."""
    return column.items or column


def _keys_by_row(column: Column) -> list[Sequence[str]]:
    if column.items is None:
        return [(key,) for key in column.keys]
    ends = accumulate(column.lengths)
    return [column.items.keys[end - n : end] for end, n in zip(ends, column.lengths, strict=True)]


def _first_of_each(keys: Sequence[str], groups: Sequence[str]) -> tuple[str, ...]:
    """The group of every different query: that of its first row."""
    first: dict[str, str] = {}
    for key, group in zip(keys, groups, strict=True):
        first.setdefault(key, group)
    return tuple(first.values())


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
