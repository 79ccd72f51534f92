"""Files of tables are read: parquet, Arrow, JSON lines, CSV; nothing is known of their cells yet."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from finetune_trainer.errors import InvalidData
from finetune_trainer.sources.splits import listed
from finetune_trainer.storage import storage_errors

if TYPE_CHECKING:
    import datasets

_SIGNS_OF_NO_ROWS = ("corresponds to no data", "BatchSize must be greater than 0")
"""How the `datasets` library says that a table has columns and no rows; it has no class for it."""
_IPC_FILE = b"ARROW1"


def read_files(files: Sequence[Path], where: str, cache: Path) -> "datasets.Dataset":
    """The rows of files that are pieces of one table. Raises InvalidData when there are none."""
    import datasets
    from datasets.exceptions import DatasetGenerationError

    datasets.disable_progress_bars()
    suffixes = {f.suffix for f in files}
    if len(suffixes) > 1:
        raise InvalidData("AmbiguousTable", f"{where} mixes {listed(suffixes)}; one table has one format")
    if all(f.stat().st_size == 0 for f in files):
        raise no_rows(where)
    try:
        with storage_errors(where):
            rows = _read(files, next(iter(suffixes)), where, cache)
    except (DatasetGenerationError, ValueError, TypeError, LookupError, ArithmeticError) as error:
        if any(sign in _root_cause(error) for sign in _SIGNS_OF_NO_ROWS):
            raise no_rows(where) from error
        raise InvalidData(
            "UnreadableTable",
            f"{where} cannot be read as {listed(suffixes)}: {_root_cause(error)}",
            "check the file with the tool that wrote it",
        ) from error
    if len(rows) == 0:
        raise no_rows(where)
    return rows


def no_rows(where: str) -> InvalidData:
    return InvalidData(
        "EmptyData", f"{where} has no rows; at least one is needed", "correct `uri` or `split`"
    )


def _read(files: Sequence[Path], suffix: str, where: str, cache: Path) -> "datasets.Dataset":
    import datasets

    names = [str(f) for f in files]
    options: dict[str, Any] = {"cache_dir": str(cache)}
    match suffix:
        case ".parquet":
            rows = datasets.Dataset.from_parquet(names, **options)
        case ".arrow":
            return _from_arrow(files)
        case ".csv":
            # As texts: ids must not lose their leading zeros, and "NA" is a word.
            features = _csv_features(files[0], where)
            rows = datasets.Dataset.from_csv(names, features=features, keep_default_na=False, **options)
        case _:
            rows = datasets.Dataset.from_json(names, **options)
    assert isinstance(rows, datasets.Dataset)  # noqa: S101 - for the type checker
    return rows


def _from_arrow(files: Sequence[Path]) -> "datasets.Dataset":
    """Files and streams of Arrow's own format, mapped into memory and not copied."""
    import datasets

    table = pa.concat_tables([_plain(_map_arrow(f)) for f in files])
    features = datasets.Features.from_arrow_schema(table.schema)
    return datasets.Dataset(datasets.table.InMemoryTable(table), datasets.DatasetInfo(features=features))


def _map_arrow(file: Path) -> pa.Table:
    source = pa.memory_map(str(file))
    is_file = source.read(len(_IPC_FILE)) == _IPC_FILE
    source.seek(0)
    table: pa.Table = (pa.ipc.open_file if is_file else pa.ipc.open_stream)(source).read_all()
    return table


def _plain(table: pa.Table) -> pa.Table:
    """Texts as texts: pandas writes categories, polars views."""
    for number, field in enumerate(table.schema):
        column = table.column(number)
        if pa.types.is_dictionary(field.type):
            column = pc.cast(column, field.type.value_type)
        elif pa.types.is_string_view(field.type):
            column = pc.cast(column, pa.large_string())
        elif pa.types.is_binary_view(field.type):
            column = pc.cast(column, pa.large_binary())
        else:
            continue
        table = table.set_column(number, field.name, column)
    return table


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
