"""What the data stage hands on: inputs with ids, decoded only when they are looked at.

Nothing here reads a source or judges it; that is `data` and what stands below it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from finetune_api.loss import Loss
from finetune_trainer.digests import content_digest

if TYPE_CHECKING:
    import datasets

LABEL = "label"
"""Name of the column of labels in rows to train on."""

Input = Any
"""One input, as `encode`, `predict` and `preprocess` of the library take it:

a text: str; an image: PIL.Image.Image;
audio: {"audio": {"array": (samples,) float32, "sampling_rate": Hz}};
video: {"video": {"array": (frames, height, width, 3) uint8, "video_metadata": {"fps": ...}}};
a mix: a dict of `text`, `image`, `audio` and `video`, as far as there are, each without its own dict around;
of a column of lists: a list of these.
"""


class Cells(Sequence[Input]):
    """Cells of tables as one sequence. Media are decoded each time they are looked at, and not kept."""

    def __init__(self, columns: Sequence["datasets.Dataset"], places: Sequence[tuple[int, int]]) -> None:
        """columns: tables of one column each; places: (column, row) of every element."""
        self.columns = columns
        self.places = places

    @overload
    def __getitem__(self, index: int) -> Input: ...
    @overload
    def __getitem__(self, index: slice) -> list[Input]: ...
    @override
    def __getitem__(self, index: int | slice) -> Input | list[Input]:
        if isinstance(index, slice):
            return [self._cell(place) for place in self.places[index]]
        return self._cell(self.places[index])

    @override
    def __len__(self) -> int:
        return len(self.places)

    @property
    def features(self) -> list[Any]:
        """What each column that is used holds, as the `datasets` library says it."""
        used = sorted({column for column, _ in self.places})
        return [f for column in used for f in self.columns[column].features.values()]

    def picked(self, rows: Sequence[int]) -> "Cells":
        """These elements, in this order."""
        return Cells(self.columns, [self.places[row] for row in rows])

    def with_columns(self, change: Callable[["datasets.Dataset"], "datasets.Dataset"]) -> "Cells":
        """The same cells, each column of them changed."""
        return Cells([change(column) for column in self.columns], self.places)

    def _cell(self, place: tuple[int, int]) -> Input:
        column, row = place
        cells: dict[str, Any] = self.columns[column][row]
        (cell,) = cells.values()
        return cell


def joined(parts: Sequence[Cells]) -> Cells:
    """The cells of all parts, one part after the other."""
    return Cells(
        [column for part in parts for column in part.columns],
        [
            (column + sum(len(before.columns) for before in parts[:number]), row)
            for number, part in enumerate(parts)
            for column, row in part.places
        ],
    )


@dataclass(frozen=True)
class Collection:
    """Inputs with their ids, in one order.

    keys: content keys of the inputs, equal where and only where the content is; the overlap check reads them.
    """

    ids: tuple[str, ...]
    inputs: Sequence[Input]
    keys: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class RetrievalData:
    """A set to measure rankings on.

    queries: only those with a relevant document in the corpus.
    relevant: query id -> ids of the documents that answer it, all of them in the corpus.
    unjudged_queries: queries left out, because no document is relevant for them.
    digest: of the content, "sha256:...".
    groups: the group of every query, in the order of the queries; None without groups.
    candidates: query id -> ids of the documents to rank for it; None: the whole corpus.
    """

    name: str
    queries: Collection
    corpus: Collection
    relevant: dict[str, frozenset[str]]
    unjudged_queries: int
    digest: str
    groups: tuple[str, ...] | None = None
    candidates: dict[str, tuple[str, ...]] | None = None


@dataclass(frozen=True)
class LabelledData:
    """A set to measure anything but rankings on.

    inputs: one collection for each input column, all of one length and with the same ids, row by row.
    labels: one for each row, as the table has them; None without a label column. `labels` checks them.
    groups: the group of every row; None without groups.
    """

    name: str
    inputs: tuple[Collection, ...]
    labels: tuple[Any, ...] | None
    digest: str
    groups: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.inputs[0])


EvaluationData = RetrievalData | LabelledData


@dataclass(frozen=True)
class TrainingSet:
    """A set to train on.

    rows: columns `query`, `positive`, `negative_0`... or `input_0`, `input_1`..., in that order, then `label`
    if there is one, and no other: the library feeds columns to the loss by their order.
    content_keys: (rows, input columns), equal where and only where the content is.
    loss: of this set; None: the spec's.
    """

    name: str
    rows: "datasets.Dataset"
    label: bool
    content_keys: NDArray[np.bytes_]
    digest: str
    dropped_rows: int = 0
    loss: Loss | None = None

    @property
    def input_columns(self) -> list[str]:
        return [c for c in self.rows.column_names if c != LABEL]


@dataclass(frozen=True)
class TrainingData:
    """All sets to train on, in the order of the spec."""

    sets: tuple[TrainingSet, ...]

    @property
    def digest(self) -> str:
        """That of the only set, or one of all."""
        digests = [s.digest for s in self.sets]
        return digests[0] if len(digests) == 1 else content_digest(digests)

    @property
    def row_count(self) -> int:
        return sum(len(s.rows) for s in self.sets)

    @property
    def dropped_rows(self) -> int:
        return sum(s.dropped_rows for s in self.sets)
