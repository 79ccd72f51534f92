"""Tar archives from elsewhere: unpacked below one folder, and no larger than they may be."""

import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

from finetune_trainer.errors import InvalidData
from finetune_trainer.sources.file_names import require_plain_name
from finetune_trainer.storage import storage_errors

MAX_MEMBERS = 100_000
MAX_RATIO = 200
"""Unpacked bytes for one packed byte; weights hardly shrink, and text by 10."""
FREE_BYTES = 2**30
"""So much is unpacked whatever the ratio."""
_CHUNK_BYTES = 1 << 20


def unpack(archive: Path, folder: Path, *, where: str, wanted: Callable[[str], bool]) -> list[str]:
    """Write the archive's wanted files below the folder, and give their names.

    where: of the archive, for messages. Raises InvalidData for a broken archive, one that holds links or
    devices, names that leave the folder, or far more than its size.
    """
    budget = max(FREE_BYTES, archive.stat().st_size * MAX_RATIO)
    try:
        with storage_errors(where), tarfile.open(archive, "r:*") as tar:
            return list(_unpack_members(tar, folder, budget=budget, where=where, wanted=wanted))
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise InvalidData(
            "BrokenArchive", f"{where} must be a tar archive, plain or gzip: {error}", "make it again"
        ) from error


def _unpack_members(
    tar: tarfile.TarFile, folder: Path, *, budget: int, where: str, wanted: Callable[[str], bool]
) -> list[str]:
    written = []
    for count, member in enumerate(tar):
        name = member.name.removeprefix("./")
        if member.isdir():
            continue
        if not member.isfile():
            raise InvalidData("UnsafeArchive", f"{where} must hold plain files, found a link: {name[:120]!r}")
        require_plain_name(name, where=where)
        budget -= member.size
        if budget < 0 or count >= MAX_MEMBERS:
            raise InvalidData("TooLarge", f"{where} unpacks to far more than its own size")
        if wanted(name):
            _write(tar, member, folder / name)
            written.append(name)
    return written


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    source = tar.extractfile(member)
    assert source is not None  # noqa: S101 - for the type checker; it is a plain file
    target.parent.mkdir(parents=True, exist_ok=True)
    with source, target.open("wb") as file:
        while chunk := source.read(_CHUNK_BYTES):
            file.write(chunk)
