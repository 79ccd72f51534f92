"""Files that are whole or absent: written aside, flushed to the disk, and then renamed into place.

Everybody may read them, whatever the umask: a model server is another user on the same volume.
"""

import errno
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

FILE_MODE = 0o644
FOLDER_MODE = 0o755


def write_folder(target: Path, *, aside: Path, source: Path, files: Mapping[str, bytes]) -> None:
    """Make `target`, a copy of `source` with more files, appear at once. `aside`: on the same file system."""
    remove(aside)
    shutil.copytree(source, aside, copy_function=shutil.copyfile)
    for name, content in files.items():
        (aside / name).write_bytes(content)
    appear(target, aside=aside)


def appear(target: Path, *, aside: Path) -> None:
    """Make the folder `aside` be `target` at once, flushed to the disk."""
    for path in (*aside.rglob("*"), aside):
        path.chmod(FOLDER_MODE if path.is_dir() else FILE_MODE)
        _flush(path)
    aside.rename(target)
    _flush(target.parent)


def write_file(target: Path, content: bytes, *, aside: Path, replace: bool = True) -> None:
    """Make `target` have this content at once.

    replace=False: raises FileExistsError when there is one already, also when another process was faster.
    """
    aside.unlink(missing_ok=True)
    aside.write_bytes(content)
    aside.chmod(FILE_MODE)
    _flush(aside)
    if replace:
        aside.replace(target)
    else:
        _link_or_rename(aside, target)
    _flush(target.parent)


def remove(path: Path) -> None:
    """Remove a file or a folder, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _link_or_rename(aside: Path, target: Path) -> None:
    """A hard link fails when the name is taken. Where there are no links, look first: the best there is."""
    try:
        target.hardlink_to(aside)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS):
            raise
        if target.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from error
        aside.rename(target)
    else:
        aside.unlink()


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some network file systems cannot flush folders; their renames are durable on their own.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP) or not path.is_dir():
            raise
    finally:
        os.close(handle)
