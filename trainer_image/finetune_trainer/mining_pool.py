"""What hard negatives are looked for in: the different contents of a set and of a corpus, numbered."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from finetune_api.hard_negatives import HardNegatives
from finetune_trainer.errors import InvalidData
from finetune_trainer.inputs import TrainingSet
from finetune_trainer.places import Places
from finetune_trainer.tables import read_table

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

    from finetune_trainer.features import modalities

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
