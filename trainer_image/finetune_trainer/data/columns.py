"""Columns of a table become inputs: texts, media, mixes of them, or lists; every cell looked at once.

What is wrong with a cell is found here, before a model is loaded: the library would train a missing image
file as text, and an unreadable one would end the run at the step that meets it. Cells stay in Arrow as they
were read, so that a table larger than the memory passes.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from finetune_trainer.data.media_cells import encoded_media, encoded_paths, examined, kind_of_media
from finetune_trainer.data.media_formats import MODALITIES, Modality
from finetune_trainer.data.media_paths import Spot, existing_files, media_kind
from finetune_trainer.digests import joined_key, text_key
from finetune_trainer.errors import InvalidData

if TYPE_CHECKING:
    import datasets


@dataclass(frozen=True)
class Column:
    """One column of a table: `cells` has it alone; keys are the content keys of its cells.

    items: of a column of lists, all their items one after the other; lengths: how many each row has.
    """

    name: str
    cells: "datasets.Dataset"
    keys: tuple[str, ...]
    items: "Column | None" = None
    lengths: tuple[int, ...] = ()


@dataclass(frozen=True)
class _Cells:
    """Cells that were looked at. feature: how `datasets` decodes them."""

    feature: Any
    storage: pa.ChunkedArray
    keys: tuple[str, ...]

    def as_column(self, name: str) -> Column:
        import datasets

        table = datasets.table.InMemoryTable(pa.table({name: self.storage}))
        features = datasets.Features({name: self.feature})
        return Column(name, datasets.Dataset(table, datasets.DatasetInfo(features=features)), self.keys)


def read_column(cells: pa.ChunkedArray, feature: Any, spot: Spot) -> Column:
    """A column of inputs. feature: what `datasets` takes it for. Raises InvalidData at the first bad cell."""
    if pa.types.is_list(cells.type) or pa.types.is_large_list(cells.type):
        return _read_lists(cells, feature, spot)
    return _read_inputs(cells, feature, spot).as_column(spot.column)


def mix_columns(parts: Mapping[Modality, tuple[pa.ChunkedArray, Any, Spot]], name: str) -> Column:
    """One column of mixed inputs out of several columns."""
    read = {kind: _read_medium(*part, wanted=kind) for kind, part in parts.items()}
    return _mixed(read).as_column(name)


def _read_lists(cells: pa.ChunkedArray, feature: Any, spot: Spot) -> Column:
    _refuse_nulls(cells, spot)
    lengths = pc.list_value_length(cells).to_pylist()
    empty = [row for row, length in enumerate(lengths) if length == 0]
    if empty:
        raise InvalidData(
            "EmptyCell", f"{spot.at(empty[0])} must be a list of at least one item", "remove the row"
        )
    rows = [row for row, length in enumerate(lengths) for _ in range(length)]
    flat = _read_inputs(pc.list_flatten(cells), getattr(feature, "feature", None), spot.of_items(rows))
    items = flat.as_column(spot.column)
    ends = list(accumulate(lengths))
    keys = [joined_key(items.keys[end - length : end]) for end, length in zip(ends, lengths, strict=True)]
    listed = pa.chunked_array(list(_lists(cells, flat.storage)))
    import datasets

    whole = _Cells(datasets.LargeList(flat.feature), listed, tuple(keys))
    column = whole.as_column(spot.column)
    return Column(column.name, column.cells, column.keys, items, tuple(lengths))


def _lists(cells: pa.ChunkedArray, items: pa.ChunkedArray) -> Iterator[pa.LargeListArray]:
    """The items in lists again, piece by piece: one array holds at most 2 GB of media."""
    start = 0
    for chunk in cells.chunks:
        ends = np.cumsum(pc.list_value_length(chunk).to_numpy(zero_copy_only=False))
        count = int(ends[-1]) if len(ends) else 0
        piece = items.slice(start, count).combine_chunks()
        yield pa.LargeListArray.from_arrays(pa.array([0, *ends.tolist()], pa.int64()), piece)
        start += count


def _read_inputs(cells: pa.ChunkedArray, feature: Any, spot: Spot) -> _Cells:
    """Texts or media; a struct of text, image, audio and video is mixed."""
    names = [field.name for field in cells.type] if pa.types.is_struct(cells.type) else []
    if not names or not set(names) <= set(MODALITIES):
        return _read_medium(cells, feature, spot)
    _refuse_nulls(cells, spot)
    features = feature if isinstance(feature, dict) else {}
    return _mixed(
        {
            kind: _read_medium(pc.struct_field(cells, kind), features.get(kind), spot, wanted=kind)
            for kind in _kinds(names)
        }
    )


def _kinds(names: Sequence[str]) -> list[Modality]:
    """The modalities of a struct's fields, in their order: models read the parts in it."""
    return [kind for name in names for kind in MODALITIES if kind == name]


def _mixed(parts: Mapping[Modality, _Cells]) -> _Cells:
    features = {kind: _bare(part.feature, kind) for kind, part in parts.items()}
    table = pa.table({kind: _bare_storage(part.storage, kind) for kind, part in parts.items()})
    keys = zip(*(part.keys for part in parts.values()), strict=True)
    return _Cells(features, _structs(table), tuple(joined_key(k) for k in keys))


def _structs(table: pa.Table) -> pa.ChunkedArray:
    """Rows as structs; the pieces of all columns are cut alike, and nothing is copied."""
    names = table.column_names
    return pa.chunked_array(
        [pa.StructArray.from_arrays(batch.columns, names=names) for batch in table.to_batches()]
    )


def _bare(feature: Any, kind: Modality) -> Any:
    return feature[kind] if isinstance(feature, dict) else feature


def _bare_storage(storage: pa.ChunkedArray, kind: Modality) -> pa.ChunkedArray:
    return pc.struct_field(storage, kind) if kind in {"audio", "video"} else storage


def _read_medium(
    cells: pa.ChunkedArray, feature: Any, spot: Spot, *, wanted: Modality | None = None
) -> _Cells:
    """Cells of one modality. Recordings are dicts of one key, as the library wants them everywhere."""
    if _is_text(cells.type):
        _refuse_nulls(cells, spot)
        texts = _texts(cells, spot)
        kind = media_kind(texts, spot, wanted)
        if kind == "text":
            return _as_texts(cells, texts)
        encoded = encoded_paths(existing_files(texts, kind, spot))
    else:
        encoded = encoded_media(cells, feature, spot, wanted)
        kind = wanted or kind_of_media(encoded, feature)
    return _as_media(encoded, kind, examined(encoded, kind, spot))


def _is_text(arrow_type: pa.DataType) -> bool:
    return any(
        is_text(arrow_type) for is_text in (pa.types.is_string, pa.types.is_large_string, pa.types.is_null)
    )


def _as_texts(cells: pa.ChunkedArray, texts: Sequence[str]) -> _Cells:
    import datasets

    dtype = "large_string" if pa.types.is_large_string(cells.type) else "string"
    return _Cells(datasets.Value(dtype), cells, tuple(text_key(t) for t in texts))


def _as_media(encoded: pa.ChunkedArray, kind: Modality, keys: tuple[str, ...]) -> _Cells:
    from finetune_trainer.data.features import decoding

    feature = decoding(kind)
    if kind == "image":
        return _Cells(feature, encoded, keys)
    return _Cells({kind: feature}, _structs(pa.table({kind: encoded})), keys)


def _texts(cells: pa.ChunkedArray, spot: Spot) -> list[str]:
    texts: list[str] = cells.to_pylist()
    empty = [row for row, text in enumerate(texts) if not text.strip()]
    if empty:
        raise _empty_cells(len(empty), len(texts), empty[0], spot)
    return texts


def _refuse_nulls(cells: pa.ChunkedArray, spot: Spot) -> None:
    if cells.null_count:
        blank = pc.is_null(cells).to_pylist()
        raise _empty_cells(cells.null_count, len(cells), blank.index(True), spot)


def _empty_cells(count: int, length: int, first: int, spot: Spot) -> InvalidData:
    return InvalidData(
        "EmptyCell",
        f"column {spot.column!r} of {spot.where} has {count} empty cells among {length},"
        f" the first in row {spot.row(first)}",
        "fill them, or remove the rows",
    )
