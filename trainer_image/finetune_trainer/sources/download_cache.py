"""Downloads kept for other runs: whole or not at all, used by several runs at once, checked on every use.

    <cache>/entries/<key>/content/      the files
    <cache>/entries/<key>/entry.json    their names, sizes and digests; a label of whoever fetched them

An entry is filled aside and appears by a rename. Names that begin with a dot are being filled or removed.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import Any
from uuid import uuid4

from finetune_trainer.storage import storage_errors

logger = logging.getLogger(__name__)

_CONTENT, _MANIFEST = "content", "entry.json"
_WAIT_SECONDS = 1.0


@dataclass(frozen=True)
class Entry:
    """folder: holds the files; label: what was put down with them."""

    folder: Path
    label: str

    def __truediv__(self, name: str) -> Path:
        return self.folder / name


def cache_key(*parts: str) -> str:
    """Equal for equal parts."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:40]


def find_entry(cache: Path, key: str) -> Entry | None:
    """The entry, if it is there and as it was put down; one that is not is removed."""
    folder = cache / "entries" / key
    with storage_errors(f"the cache {cache}"):
        manifest = _read_manifest(folder)
        if manifest is None:
            return None
        if _is_whole(folder / _CONTENT, manifest["files"]):
            return Entry(folder / _CONTENT, str(manifest["label"]))
        logger.warning("cache entry %s is damaged, it is fetched anew", folder)
        _discard(folder)
    return None


def get_entry(cache: Path, key: str, *, fill: Callable[[Path], str]) -> Entry:
    """The entry, fetched now if it is not there; another run that fetches the same is waited for.

    fill: puts the files into the folder it is given, and gives the label.
    """
    if (found := find_entry(cache, key)) is not None:
        return found
    with _locked(cache, key) as alone:
        if (found := find_entry(cache, key)) is not None:
            return found
        if alone:
            for left_over in (cache / "entries").glob(f".{key}.*"):  # of a run that was killed
                shutil.rmtree(left_over, ignore_errors=True)
        return put_entry(cache, key, fill=fill)


def put_entry(cache: Path, key: str, *, fill: Callable[[Path], str]) -> Entry:
    """Fetch an entry that is not there yet; one that another run has put there meanwhile is taken instead."""
    folder = cache / "entries" / key
    aside = folder.with_name(f".{key}.{uuid4().hex}")
    try:
        with storage_errors(f"the cache {cache}"):
            (aside / _CONTENT).mkdir(parents=True)
        label = fill(aside / _CONTENT)
        with storage_errors(f"the cache {cache}"):
            _write_manifest(aside, label)
            with _already_there():
                aside.rename(folder)
            manifest = _read_manifest(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return Entry(folder / _CONTENT, str(manifest["label"]) if manifest else label)


def _write_manifest(entry: Path, label: str) -> None:
    content = entry / _CONTENT
    files = {
        path.relative_to(content).as_posix(): {"size": path.stat().st_size, "sha256": _sha256(path)}
        for path in sorted(content.rglob("*"))
        if path.is_file()
    }
    with (entry / _MANIFEST).open("w", encoding="utf-8") as file:
        json.dump({"label": label, "files": files}, file)
        file.flush()
        os.fsync(file.fileno())


def _read_manifest(folder: Path) -> dict[str, Any] | None:
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (ValueError, UnicodeDecodeError):
        manifest = None
    is_ours = isinstance(manifest, dict) and isinstance(manifest.get("files"), dict) and "label" in manifest
    return manifest if is_ours else {"label": "", "files": {_MANIFEST: {}}}  # never whole: it is replaced


def _is_whole(content: Path, files: dict[str, Any]) -> bool:
    """The sizes first: they tell most damage without reading anything."""
    paths = [(content / name, told) for name, told in files.items()]
    return all(_has_size(path, told) for path, told in paths) and all(
        _sha256(path) == told.get("sha256") for path, told in paths
    )


def _has_size(path: Path, told: dict[str, Any]) -> bool:
    return path.is_file() and not path.is_symlink() and path.stat().st_size == told.get("size")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _discard(folder: Path) -> None:
    """Out of sight first: nobody must find one of which half is gone."""
    gone = folder.with_name(f".{folder.name}.{uuid4().hex}")
    with contextlib.suppress(FileNotFoundError):
        folder.rename(gone)
    shutil.rmtree(gone, ignore_errors=True)


@contextlib.contextmanager
def _already_there() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
            raise


@contextlib.contextmanager
def _locked(cache: Path, key: str) -> Iterator[bool]:
    """One run at a time fetches an entry. False where the file system has no locks: then several may."""
    path = cache / "entries" / f".{key}.lock"
    with storage_errors(f"the cache {cache}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    with file:
        told = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not told:
                    logger.info("waiting for another run that fetches the same into %s", cache)
                    told = True
                sleep(_WAIT_SECONDS)
            except OSError:
                yield False
                return
            else:
                yield True
                return
