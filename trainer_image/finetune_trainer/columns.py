"""Columns of a table become inputs: texts, media, mixes of them, or lists; every cell looked at once.

What is wrong with a cell is found here, before a model is loaded: the library would train a missing image
file as text, and an unreadable one would end the run at the step that meets it. Cells stay in Arrow as they
were read, so that a table larger than the memory passes.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from finetune_trainer.digests import joined_key, media_key, text_key
from finetune_trainer.errors import InvalidData
from finetune_trainer.images import image_problem, is_image_of_name
from finetune_trainer.media_formats import MODALITIES, Modality, Problem, fits_name, recording_format
from finetune_trainer.media_paths import Spot, existing_files, media_kind
from finetune_trainer.recordings import recording_kind, recording_problem

if TYPE_CHECKING:
    import datasets

_ROWS_AT_ONCE = 256
_ENCODED = pa.struct({"bytes": pa.binary(), "path": pa.string()})


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
        encoded = _encoded_paths(existing_files(texts, kind, spot))
    else:
        encoded = _encoded(cells, feature, spot, wanted)
        kind = wanted or _kind_of(feature) or _first_kind(encoded)
    return _as_media(encoded, kind, _examined(encoded, kind, spot))


def _is_text(arrow_type: pa.DataType) -> bool:
    return any(
        is_text(arrow_type) for is_text in (pa.types.is_string, pa.types.is_large_string, pa.types.is_null)
    )


def _as_texts(cells: pa.ChunkedArray, texts: Sequence[str]) -> _Cells:
    import datasets

    dtype = "large_string" if pa.types.is_large_string(cells.type) else "string"
    return _Cells(datasets.Value(dtype), cells, tuple(text_key(t) for t in texts))


def _as_media(encoded: pa.ChunkedArray, kind: Modality, keys: tuple[str, ...]) -> _Cells:
    from finetune_trainer.features import decoding

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


def _encoded_paths(paths: Sequence[str]) -> pa.ChunkedArray:
    nothing = pa.nulls(len(paths), pa.binary())
    return pa.chunked_array([pa.StructArray.from_arrays([nothing, pa.array(paths)], fields=list(_ENCODED))])


def _encoded(cells: pa.ChunkedArray, feature: Any, spot: Spot, wanted: Modality | None) -> pa.ChunkedArray:
    """Media of a table as {bytes, path}: as the hub's parquet has them, or plain bytes."""
    import datasets

    if pa.types.is_binary(cells.type) or pa.types.is_large_binary(cells.type):
        names = {"bytes"}
    else:
        names = {field.name for field in cells.type} if pa.types.is_struct(cells.type) else set()
    if wanted == "text" or not names or not names <= {"bytes", "path"}:
        found = getattr(feature, "dtype", None) or str(cells.type)[:60]
        raise InvalidData(
            "UnsupportedCell",
            f"column {spot.column!r} of {spot.where} must hold {wanted or 'texts or media'}, found {found}",
            "convert the column, or name another one",
        )
    pieces = [datasets.Image().cast_storage(chunk) for chunk in cells.chunks]
    return pa.chunked_array(pieces, type=_ENCODED)


def _kind_of(feature: Any) -> Modality | None:
    import datasets

    kinds: dict[type, Modality] = {
        datasets.Image: "image",
        datasets.Audio: "audio",
        datasets.Video: "video",
    }
    return kinds.get(type(feature))


def _first_kind(encoded: pa.ChunkedArray) -> Modality:
    """Of bytes that nothing says more about: what the first are."""
    first = encoded[0].as_py() if len(encoded) else None
    return (recording_kind(first["bytes"]) if first and first["bytes"] else None) or "image"


def _examined(encoded: pa.ChunkedArray, kind: Modality, spot: Spot) -> tuple[str, ...]:
    """Content keys. Raises InvalidData for the first cell that has something wrong."""
    keys: list[str] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start, cells in _slices(encoded):
            found = pool.map(lambda cell: _key_and_problem(cell, kind), cells)
            for cell, (key, problem) in enumerate(found, start):
                if problem is not None:
                    raise InvalidData(
                        problem.reason,
                        f"{spot.at(cell)}: {problem.message}",
                        f"replace the {kind}, or remove the row",
                    )
                keys.append(key)
    return tuple(keys)


def _slices(encoded: pa.ChunkedArray) -> Iterator[tuple[int, list[Any]]]:
    for start in range(0, len(encoded), _ROWS_AT_ONCE):
        yield start, encoded.slice(start, _ROWS_AT_ONCE).to_pylist()


def _key_and_problem(cell: Any, kind: Modality) -> tuple[str, Problem | None]:
    """Content key of an encoded medium {bytes, path}, and what is wrong with it, if anything."""
    if cell is None or not (cell["bytes"] or cell["path"]):
        return "", Problem("EmptyCell", f"must hold {kind}, found nothing")
    try:
        encoded = cell["bytes"] or Path(cell["path"]).read_bytes()
    except OSError as error:
        return "", Problem("MissingFile", f"{Path(cell['path']).name} cannot be read: {error.strerror}")
    problem = image_problem(encoded) if kind == "image" else recording_problem(encoded, kind)
    if problem is None and not cell["bytes"]:
        problem = _name_problem(encoded, kind, cell["path"])
    return media_key(kind, encoded), problem


def _name_problem(encoded: bytes, kind: Modality, path: str) -> Problem | None:
    """Files only: the path beside bytes is a remark of whoever packed them."""
    if kind == "image":
        fits = is_image_of_name(encoded, path)
    else:
        found = recording_format(encoded)
        fits = found is not None and fits_name(found, path)
    if fits:
        return None
    return Problem("MislabelledMedia", f"{Path(path).name} holds another format than its name says")
