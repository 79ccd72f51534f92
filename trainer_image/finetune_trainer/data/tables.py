"""A source becomes a table: its files, its columns, and for each wanted column what it holds."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from finetune_api.tables import Combined, TableSource
from finetune_trainer.data.columns import Column, mix_columns, read_column
from finetune_trainer.data.media_formats import Modality, kind_of_suffix
from finetune_trainer.data.media_paths import Spot
from finetune_trainer.data.table_files import read_files
from finetune_trainer.errors import InvalidData
from finetune_trainer.places import Places
from finetune_trainer.sources.fetch import fetch_table
from finetune_trainer.sources.splits import is_media_folder, listed

if TYPE_CHECKING:
    import datasets

_FILE_COLUMN = "file_name"


@dataclass(frozen=True)
class Table:
    """A table as it was read; nothing is known of its cells yet.

    where: how messages call it. folder: what paths in cells are relative to. root: where they must stay.
    mixes: columns that are made of several, by name.
    """

    rows: "datasets.Dataset"
    where: str
    folder: Path
    root: Path
    mixes: Mapping[str, Combined]

    def values(self, column: str) -> list[Any]:
        """Cells of a column as they are, for ids, grades and labels. Raises InvalidData at an empty one."""
        self.require([column])
        cells: list[Any] = self.rows.with_format("python")[column][:]
        refuse_empty(cells, column, self.where)
        return cells

    def require(self, columns: Iterable[str]) -> None:
        """Raises InvalidData("MissingColumn") unless the table has them all, and the parts of mixed ones."""
        wanted = [part for c in columns for part in self._parts(c).values()]
        missing = [c for c in wanted if c not in self.rows.column_names]
        if missing:
            raise InvalidData(
                "MissingColumn",
                f"{self.where} has no column {missing[0]!r}; found {listed(self.rows.column_names)}",
                "correct the column's name in the spec, or add it to the table",
            )

    def _parts(self, column: str) -> dict[str, str]:
        return self.mixes[column].parts if column in self.mixes else {"": column}

    def column(self, name: str) -> Column:
        """A column of inputs, every cell of it looked at."""
        self.require([name])
        if name in self.mixes:
            parts: dict[Any, str] = dict(self.mixes[name].parts)
            return mix_columns({kind: self._cells(column) for kind, column in parts.items()}, name)
        return read_column(*self._cells(name))

    def _cells(self, name: str) -> tuple[pa.ChunkedArray, Any, Spot]:
        spot = Spot(name, self.where, self.folder, self.root)
        return self.rows.data.column(name), self.rows.features[name], spot


def read_table(
    source: TableSource, places: Places, columns: Sequence[str], *, max_rows: int | None = None
) -> Table:
    """The table that a source names, with these columns, or the first rows of it.

    Raises InvalidData when it has no rows.
    """
    fetched = fetch_table(source, places)
    where = source.uri + (f" (split {source.split})" if source.split else "")
    rows = read_files(fetched.files, where, places.work / "tables")
    if is_media_folder([f.name for f in fetched.files]):
        rows = _with_media(rows, where)
    mixes = {c.name: c for c in source.combine}
    _refuse_hidden(mixes, rows.column_names, where)
    table = Table(rows, where, fetched.path, fetched.root, mixes)
    table.require(columns)
    if max_rows is not None and max_rows < len(rows):
        # One range is a slice of the table; other selections would be an index beside it.
        return replace(table, rows=rows.select(range(max_rows)))
    return table


def _refuse_hidden(mixes: Iterable[str], columns: Sequence[str], where: str) -> None:
    both = [name for name in mixes if name in columns]
    if both:
        raise InvalidData(
            "DuplicateColumn",
            f"a column of `combine` must have a name of its own, found {both[0]!r}, which {where} has too",
            "choose another name",
        )


def _with_media(rows: "datasets.Dataset", where: str) -> "datasets.Dataset":
    """The metadata of a folder of media: `file_name` becomes the column `image`, `audio` or `video`."""
    found = rows.column_names
    name = _medium(str(rows[0][_FILE_COLUMN])) if _FILE_COLUMN in found else _FILE_COLUMN
    if name in found or _FILE_COLUMN not in found:
        raise InvalidData(
            "MissingColumn",
            f"the metadata of {where} must have a column {_FILE_COLUMN!r} and none called {name!r};"
            f" found {listed(found)}",
        )
    return rows.rename_column(_FILE_COLUMN, name)


def _medium(file_name: str) -> Modality:
    kind = kind_of_suffix(PurePath(file_name).suffix.lower())
    return "image" if kind == "text" else kind


def refuse_empty(cells: Sequence[Any], column: str, where: str) -> None:
    """Raises InvalidData("EmptyCell") naming the first of the cells that hold nothing."""
    empty = [row for row, c in enumerate(cells) if c is None or (isinstance(c, str) and not c.strip())]
    if empty:
        raise InvalidData(
            "EmptyCell",
            f"column {column!r} of {where} has {len(empty)} empty cells among {len(cells)},"
            f" the first in row {empty[0]}",
            "fill them, or remove the rows",
        )
