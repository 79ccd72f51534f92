"""Encoded images and recordings of a table: brought into one form, told apart, and each of them looked at."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from finetune_trainer.data.images import image_problem, is_image_of_name
from finetune_trainer.data.media_formats import Modality, Problem, fits_name, recording_format
from finetune_trainer.data.media_paths import Spot, existing_files
from finetune_trainer.data.recordings import recording_kind, recording_problem
from finetune_trainer.digests import media_key
from finetune_trainer.errors import InvalidData

_ROWS_AT_ONCE = 256
_ENCODED = pa.struct({"bytes": pa.binary(), "path": pa.string()})


def encoded_paths(paths: Sequence[str]) -> pa.ChunkedArray:
    """Files as {bytes, path}."""
    nothing = pa.nulls(len(paths), pa.binary())
    return pa.chunked_array([pa.StructArray.from_arrays([nothing, pa.array(paths)], fields=list(_ENCODED))])


def encoded_media(
    cells: pa.ChunkedArray, feature: Any, spot: Spot, wanted: Modality | None
) -> pa.ChunkedArray:
    """Media of a table as {bytes, path}: as the hub's parquet has them, or plain bytes.

    Raises InvalidData when a path without bytes leads out of the volume, or to nothing.
    """
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
    return _with_files(pa.chunked_array(pieces, type=_ENCODED), wanted or "image", spot)


def _with_files(encoded: pa.ChunkedArray, kind: Modality, spot: Spot) -> pa.ChunkedArray:
    """Paths that stand for their files, made absolute. Those beside bytes are only remarks."""
    contents, paths = pc.struct_field(encoded, "bytes"), pc.struct_field(encoded, "path")
    alone = pc.and_(pc.is_null(contents), pc.is_valid(paths)).to_pylist()
    rows = [row for row, is_alone in enumerate(alone) if is_alone]
    if not rows:
        return encoded
    names: list[str | None] = paths.to_pylist()
    files = existing_files(
        [names[row] or "" for row in rows], kind, spot.of_items([spot.row(r) for r in rows])
    )
    for row, file in zip(rows, files, strict=True):
        names[row] = file
    table = pa.table({"bytes": contents, "path": pa.array(names, pa.string())})
    return pa.chunked_array(
        [pa.StructArray.from_arrays(b.columns, fields=list(_ENCODED)) for b in table.to_batches()]
    )


def kind_of_media(encoded: pa.ChunkedArray, feature: Any) -> Modality:
    """What the feature says, or else the first bytes."""
    import datasets

    kinds: dict[type, Modality] = {
        datasets.Image: "image",
        datasets.Audio: "audio",
        datasets.Video: "video",
    }
    return kinds.get(type(feature)) or _first_kind(encoded)


def _first_kind(encoded: pa.ChunkedArray) -> Modality:
    """Of bytes that nothing says more about: what the first are."""
    first = encoded[0].as_py() if len(encoded) else None
    return (recording_kind(first["bytes"]) if first and first["bytes"] else None) or "image"


def examined(encoded: pa.ChunkedArray, kind: Modality, spot: Spot) -> tuple[str, ...]:
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
