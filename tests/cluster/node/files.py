"""Writes the files of a ConfigMap, Secret or projected volume as a kubelet does: all at once.

The files lie in a folder named after the time; `..data` is a link to it and each name a link through
`..data`. A new content is a new folder and one rename of `..data`, so that a reader never sees half of two
versions.
"""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

DATA = "..data"


@dataclass(frozen=True)
class File:
    """Content and permission of one file."""

    content: bytes
    mode: int


def write_files(folder: Path, files: dict[str, File]) -> bool:
    """Make the folder hold just these files (paths may have folders in them); whether anything changed."""
    folder.mkdir(parents=True, exist_ok=True)
    current = folder / DATA
    old = current.resolve() if current.is_symlink() else None
    if old is not None and _read(old) == files:
        return False
    new = folder / f"..{time.strftime('%Y_%m_%d_%H_%M_%S')}.{time.monotonic_ns()}"
    for path, file in files.items():
        _write(new / path, file)
    new.mkdir(exist_ok=True)
    _point(current, new.name)
    _link_names(folder, {Path(path).parts[0] for path in files})
    if old is not None:
        shutil.rmtree(old, ignore_errors=True)
    return True


def _write(path: Path, file: File) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(file.content)
    path.chmod(file.mode)


def _read(folder: Path) -> dict[str, File]:
    return {
        str(path.relative_to(folder)): File(path.read_bytes(), path.stat().st_mode & 0o777)
        for path in folder.rglob("*")
        if path.is_file()
    }


def _point(link: Path, target: str) -> None:
    scratch = link.with_name(link.name + ".new")
    scratch.unlink(missing_ok=True)
    scratch.symlink_to(target)
    scratch.rename(link)


def _link_names(folder: Path, names: set[str]) -> None:
    for name in names:
        link = folder / name
        if not link.is_symlink():
            link.symlink_to(f"{DATA}/{name}")
    for entry in list(folder.iterdir()):
        if not entry.name.startswith("..") and entry.name not in names:
            entry.unlink()
