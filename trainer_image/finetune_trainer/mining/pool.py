"""What hard negatives are looked for in, and for: the contents of a set and of a corpus, and its shape."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from finetune_api.hard_negatives import HardNegatives
from finetune_api.spec import FinetuneSpec
from finetune_trainer.data.inputs import TrainingData, TrainingSet
from finetune_trainer.data.labelled_pairs import with_labelled_pairs
from finetune_trainer.data.tables import read_table
from finetune_trainer.errors import InvalidData
from finetune_trainer.places import Places

if TYPE_CHECKING:
    import datasets

INPUT = "input"
"""The one column of a table of contents."""


@dataclass(frozen=True)
class Pool:
    """Different contents, numbered. keys: (contents,); inputs: a table of the one column `input`."""

    keys: tuple[str, ...]
    inputs: "datasets.Dataset"


def pool_of(one: TrainingSet, settings: HardNegatives, places: Places) -> Pool:
    """The different positives of the set, then what else the corpus has."""
    import datasets

    from finetune_trainer.data.features import modalities

    keys, inputs = distinct(one.rows.select_columns(["positive"]), keys_of(one, 1))
    if (source := settings.corpus) is None:
        return Pool(keys, inputs)
    column = read_table(source, places, [source.input]).column(source.input)
    more_keys, more = distinct(column.cells, column.keys, known=frozenset(keys))
    wanted, found = (" and ".join(modalities(t.features[INPUT])) for t in (inputs, more))
    if wanted != found:
        raise InvalidData(
            "MixedColumn",
            f"the corpus {source.uri} must hold {wanted} inputs, as the positives of train set {one.name!r};"
            f" found {found}",
            "name another column, or a corpus of the same kind",
        )
    if more.data.schema.types != inputs.data.schema.types:
        more = more.cast(inputs.features)
    # Recordings are decoded as those of the set are: what is stored says nothing of it.
    more.info.features = inputs.features
    return Pool((*keys, *more_keys), datasets.concatenate_datasets([inputs, more]))


def distinct(
    cells: "datasets.Dataset", keys: Sequence[str], known: frozenset[str] = frozenset()
) -> tuple[tuple[str, ...], "datasets.Dataset"]:
    """The different contents of a table of one column but for known ones, in the order they are met."""
    first: dict[str, int] = {}
    for row, key in enumerate(keys):
        if key not in known:
            first.setdefault(key, row)
    (name,) = cells.column_names
    return tuple(first), cells.rename_column(name, INPUT).select(list(first.values()))


def keys_of(one: TrainingSet, column: int) -> list[str]:
    return [key.decode() for key in one.content_keys[:, column].tolist()]


def with_stand_ins(training: TrainingData, spec: FinetuneSpec) -> TrainingData:
    """The sets in the shape that mining will give them, for checks that should not wait for it.

    Each row's own positive stands for its negatives, told apart from everything by keys of its own.
    """
    import datasets

    settings = spec.data.hard_negatives
    if settings is None:
        return training
    sets = []
    for one in training.sets:
        if can_be_mined(one):
            names = names_of_negatives(one, settings.per_query)
            positives = one.rows.select_columns(["positive"])
            columns = [positives.rename_column("positive", name) for name in names]
            keys = [[f"{row}.{n}" for n in range(len(names))] for row in range(len(one.rows))]
            one = replace(  # noqa: PLW2901 - what it stands for
                one,
                rows=datasets.concatenate_datasets([one.rows, *columns], axis=1),
                content_keys=np.hstack([one.content_keys, np.array(keys, dtype="S32")]),
            )
        sets.append(one)
    return TrainingData(tuple(sets))


def as_trained(training: TrainingData, spec: FinetuneSpec) -> TrainingData:
    """The sets in the shape that their losses will get, with stand-ins for negatives yet to be mined."""
    return with_labelled_pairs(with_stand_ins(training, spec), spec)


def names_of_negatives(one: TrainingSet, count: int) -> list[str]:
    """Of the columns to come, behind those that the table has."""
    first = len(one.input_columns) - 2
    return [f"negative_{first + n}" for n in range(count)]


def can_be_mined(one: TrainingSet) -> bool:
    return not one.label and one.input_columns[:2] == ["query", "positive"]
