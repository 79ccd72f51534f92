"""Files become tables: wanted columns only, each of them texts or images, every cell looked at once.

What is wrong with a table is found here, before a model is loaded: the library would train a missing image
file as text, and an unreadable one would end the run at the step that meets it.
"""

import csv
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from finetune_api.tables import TableSource
from finetune_trainer.digests import text_key
from finetune_trainer.errors import InvalidData
from finetune_trainer.images import image_problem, paths_as_images
from finetune_trainer.places import Places
from finetune_trainer.sources import Fetched, fetch_table
from finetune_trainer.splits import is_image_folder, listed
from finetune_trainer.storage import storage_errors

if TYPE_CHECKING:
    import datasets

Kind = Literal["text", "image"]
_IMAGE_COLUMN = "image"
_FILE_COLUMN = "file_name"
_ROWS_AT_ONCE = 256
_SIGNS_OF_NO_ROWS = ("corresponds to no data", "BatchSize must be greater than 0")
"""How the `datasets` library says that a table has columns and no rows; it has no class for it."""


@dataclass(frozen=True)
class Column:
    """One column of a table: `cells` has it alone; keys are the content keys of its cells."""

    name: str
    kind: Kind
    cells: "datasets.Dataset"
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table as it was read; nothing is known of its cells yet.

    where: how messages call it. folder: what paths in cells are relative to. root: where they must stay.
    """

    rows: "datasets.Dataset"
    where: str
    folder: Path
    root: Path

    def values(self, column: str) -> list[Any]:
        """Cells of a column as they are, for ids and grades. Raises InvalidData at an empty one."""
        self.require([column])
        cells: list[Any] = self.rows.with_format("python")[column][:]
        refuse_empty(cells, column, self.where)
        return cells

    def require(self, columns: Iterable[str]) -> None:
        """Raises InvalidData("MissingColumn") unless the table has them all."""
        missing = [c for c in columns if c not in self.rows.column_names]
        if missing:
            raise InvalidData(
                "MissingColumn",
                f"{self.where} has no column {missing[0]!r}; found {listed(self.rows.column_names)}",
                "correct the column's name in the spec, or add it to the table",
            )

    def column(self, name: str) -> Column:
        """A column of inputs, every cell of it looked at."""
        self.require([name])
        cells, kind = self._typed(name)
        keys: list[str] = []
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for start in range(0, len(cells), _ROWS_AT_ONCE):
                keys += self._examined(name, kind, cells[start : start + _ROWS_AT_ONCE][name], start, pool)
        return Column(name, kind, _decoding(cells, name) if kind == "image" else cells, tuple(keys))

    def _typed(self, name: str) -> tuple["datasets.Dataset", Kind]:
        """The column alone, images as encoded bytes or paths, with what it is."""
        import datasets

        feature = self.rows.features[name]
        cells = self.rows.select_columns([name])
        if isinstance(feature, datasets.Image) or _is_encoded_image(feature):
            return cells.cast_column(name, datasets.Image(decode=False)), "image"
        if not isinstance(feature, datasets.Value) or feature.dtype not in {"string", "large_string", "null"}:
            raise InvalidData(
                "UnsupportedCell",
                f"column {name!r} of {self.where} must hold texts or images, found {_type_name(feature)}",
                "convert the column, or name another one",
            )
        texts = cells[name][:]
        refuse_empty(texts, name, self.where)
        paths = paths_as_images(texts, column=name, where=self.where, folder=self.folder, root=self.root)
        if paths is None:
            return cells, "text"
        images = datasets.Dataset.from_dict(
            {name: [{"bytes": None, "path": p} for p in paths]},
            features=datasets.Features({name: datasets.Image(decode=False)}),
        )
        return images, "image"

    def _examined(
        self, name: str, kind: Kind, cells: Sequence[Any], start: int, pool: ThreadPoolExecutor
    ) -> list[str]:
        if kind == "text":
            return [text_key(c) for c in cells]
        found = list(pool.map(image_problem, cells))
        for row, (_, problem) in enumerate(found, start):
            if problem is not None:
                raise InvalidData(
                    problem.reason,
                    f"row {row}, column {name!r} of {self.where}: {problem.message}",
                    "replace the image, or remove the row",
                )
        return [key for key, _ in found]


def read_table(
    source: TableSource, places: Places, columns: Sequence[str], *, max_rows: int | None = None
) -> Table:
    """The table that a source names, with these columns, or the first rows of it.

    Raises InvalidData when it has no rows.
    """
    fetched = fetch_table(source, places)
    where = source.uri + (f" (split {source.split})" if source.split else "")
    rows = _read(fetched, where, places.work / "tables")
    if is_image_folder([f.name for f in fetched.files]):
        rows = _with_images(rows, where)
    table = Table(rows, where, fetched.path, fetched.root)
    table.require(columns)
    if len(rows) == 0:
        raise _no_rows(where)
    if max_rows is not None and max_rows < len(rows):
        return replace(table, rows=rows.select(range(max_rows)))
    return table


def _read(fetched: Fetched, where: str, cache: Path) -> "datasets.Dataset":
    import datasets
    from datasets.exceptions import DatasetGenerationError

    datasets.disable_progress_bars()
    files = [str(f) for f in fetched.files]
    suffixes = {f.suffix for f in fetched.files}
    suffix = listed(suffixes)
    if len(suffixes) > 1:
        raise InvalidData("AmbiguousTable", f"{where} mixes {suffix}; one table has one format")
    if all(f.stat().st_size == 0 for f in fetched.files):
        raise _no_rows(where)
    options: dict[str, Any] = {"cache_dir": str(cache)}
    try:
        with storage_errors(where):
            match suffix:
                case ".parquet":
                    rows = datasets.Dataset.from_parquet(files, **options)
                case ".csv":
                    # As texts: ids must not lose their leading zeros, and "NA" is a word.
                    features = _csv_features(fetched.files[0], where)
                    rows = datasets.Dataset.from_csv(
                        files, features=features, keep_default_na=False, **options
                    )
                case _:
                    rows = datasets.Dataset.from_json(files, **options)
    except (DatasetGenerationError, ValueError, TypeError, LookupError, ArithmeticError) as error:
        if any(sign in _root_cause(error) for sign in _SIGNS_OF_NO_ROWS):
            raise _no_rows(where) from error
        raise InvalidData(
            "UnreadableTable",
            f"{where} cannot be read as {suffix}: {_root_cause(error)}",
            "check the file with the tool that wrote it",
        ) from error
    assert isinstance(rows, datasets.Dataset)  # noqa: S101 - for the type checker
    return rows


def _no_rows(where: str) -> InvalidData:
    return InvalidData(
        "EmptyData", f"{where} has no rows; at least one is needed", "correct `uri` or `split`"
    )


def _csv_features(file: Path, where: str) -> "datasets.Features":
    """Every column of the header as text."""
    import datasets

    with file.open(encoding="utf-8-sig", newline="") as lines:
        header = next(csv.reader(lines), [])
    if len(set(header)) < len(header):
        raise InvalidData("DuplicateColumn", f"{where} must have each column once, found {listed(header)}")
    return datasets.Features({name: datasets.Value("string") for name in header})


def _root_cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {str(error)[:200]}"


def _with_images(rows: "datasets.Dataset", where: str) -> "datasets.Dataset":
    """The metadata of an image folder: `file_name` becomes the column `image`."""
    if _FILE_COLUMN not in rows.column_names or _IMAGE_COLUMN in rows.column_names:
        raise InvalidData(
            "MissingColumn",
            f"the metadata of {where} must have a column {_FILE_COLUMN!r} and none called {_IMAGE_COLUMN!r};"
            f" found {listed(rows.column_names)}",
        )
    return rows.rename_column(_FILE_COLUMN, _IMAGE_COLUMN)


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


def _decoding(cells: "datasets.Dataset", name: str) -> "datasets.Dataset":
    import datasets

    return cells.cast_column(name, datasets.Image())


def _is_encoded_image(feature: Any) -> bool:
    """Encoded images as parquet of the hub has them, or plain bytes."""
    if isinstance(feature, dict):
        return set(feature) == {"bytes", "path"}
    return getattr(feature, "dtype", None) in {"binary", "large_binary"}


def _type_name(feature: Any) -> str:
    return str(getattr(feature, "dtype", None) or type(feature).__name__)
