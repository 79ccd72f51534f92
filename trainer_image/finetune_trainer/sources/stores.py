"""Object stores: a folder of a bucket, read and written by the same few operations for s3:// and gs://.

Credentials come from the folder of a Secret alone, or else from the cloud's own chain (workload identity, the
environment). Every operation is tried again as `retries` says and raises our errors: NoAccess, InvalidSpec
for what is not there, SourceUnavailable, StorageFailed for this machine's disk.
"""

import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from finetune_api.uris import StoreUri
from finetune_trainer.errors import InvalidData, SourceUnavailable
from finetune_trainer.sources.file_names import require_plain_name
from finetune_trainer.sources.retries import retried
from finetune_trainer.sources.store_clients import open_gs, open_s3
from finetune_trainer.sources.store_errors import store_errors
from finetune_trainer.storage import storage_errors

if TYPE_CHECKING:
    from fsspec.asyn import AsyncFileSystem

PIECE_BYTES = 16 * 2**20
PIECES_AT_ONCE = 4
"""One connection rarely fills a cloud's link."""
SMALL_BYTES = 4 * 2**20
MAX_OBJECTS = 100_000
"""A folder of more is named by mistake; listing it takes minutes."""

T = TypeVar("T")
OnBytes = Callable[[int], None]
"""Told how many more bytes came."""


@dataclass(frozen=True)
class StoredObject:
    """key: relative to the store's folder; tag: changes when the content does."""

    key: str
    size: int
    tag: str


class Store:
    """One folder of a bucket. Keys are relative to it, with / between folders."""

    def __init__(self, filesystem: "AsyncFileSystem", uri: StoreUri) -> None:
        self._filesystem = filesystem
        self.uri = uri

    def at(self, uri: StoreUri) -> "Store":
        """Another folder with the same credentials."""
        return Store(self._filesystem, uri)

    def list(self, prefix: str = "") -> list[StoredObject]:
        """Every object whose key is `prefix`, or begins with it and a slash; sorted by key.

        Raises InvalidData for keys that would leave a folder (`..`) once they are files.
        """
        found = self._tried(prefix, lambda: self._find(self._path(prefix)))
        if len(found) > MAX_OBJECTS:
            raise InvalidData(
                "TooManyObjects",
                f"{self._name(prefix)} must hold at most {MAX_OBJECTS} objects, found {len(found)}",
                "let `uri` name a smaller folder",
            )
        return sorted((self._described(path, info) for path, info in found.items()), key=lambda o: o.key)

    def read(self, key: str) -> bytes | None:
        """The content of a small object, None when there is none. Raises InvalidData above SMALL_BYTES."""

        def attempt() -> bytes | None:
            with suppress(FileNotFoundError):
                content = self._filesystem.cat_file(self._path(key), start=0, end=SMALL_BYTES + 1)
                return bytes(content)
            return None

        content = self._tried(key, attempt)
        if content is not None and len(content) > SMALL_BYTES:
            raise InvalidData(
                "TooLarge", f"{self._name(key)} must have at most {SMALL_BYTES} bytes, found more"
            )
        return content

    def read_json(self, key: str) -> Any:
        """The content of a small JSON object, None if there is none. Raises InvalidData for the rest."""
        content = self.read(key)
        try:
            return None if content is None else json.loads(content)
        except ValueError as error:
            raise InvalidData(
                "InvalidJson", f"{self._name(key)} must be JSON, found something else"
            ) from error

    def write(self, key: str, content: bytes, *, replace: bool = True) -> None:
        """Write a small object: it appears whole, or not at all.

        replace=False: raises FileExistsError when there is one. AWS, MinIO and Google refuse it themselves;
        of a store that ignores the condition the answer is only as good as the look before.
        """
        mode = "overwrite" if replace else "create"

        def attempt() -> None:
            if not replace and self._filesystem.exists(self._path(key)):
                raise FileExistsError(self._name(key))
            self._filesystem.pipe_file(self._path(key), content, mode=mode)

        self._tried(key, attempt)

    def upload(self, path: Path, key: str) -> None:
        """Write a file of any size as an object: it appears whole, or not at all."""
        self._tried(key, lambda: self._filesystem.put_file(str(path), self._path(key)))

    def download(self, objects: Sequence[StoredObject], folder: Path, *, on_bytes: OnBytes) -> None:
        """Bring objects as files below `folder`, by their keys. A piece that breaks off is asked for again.

        Raises SourceUnavailable when an object has changed since it was listed.
        """
        with storage_errors(str(self.uri)):
            for found in objects:
                target = folder / found.key
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as file:
                    os.truncate(file.fileno(), found.size)
        pieces = [(o, start) for o in objects for start in range(0, o.size, PIECE_BYTES)]

        def fetch(piece: tuple[StoredObject, int]) -> None:
            on_bytes(self._fetch_piece(*piece, folder / piece[0].key))

        with ThreadPoolExecutor(PIECES_AT_ONCE) as pool:
            for result in [pool.submit(fetch, piece) for piece in pieces]:
                try:
                    result.result()
                except BaseException:
                    pool.shutdown(cancel_futures=True)
                    raise

    def delete(self, keys: Sequence[str]) -> None:
        """Remove objects; those that are not there are passed over."""
        for key in keys:

            def attempt(path: str = self._path(key)) -> None:
                with suppress(FileNotFoundError):
                    self._filesystem.rm_file(path)

            self._tried(key, attempt)

    def _fetch_piece(self, found: StoredObject, start: int, target: Path) -> int:
        end = min(start + PIECE_BYTES, found.size)

        def attempt() -> bytes:
            content = bytes(self._filesystem.cat_file(self._path(found.key), start=start, end=end))
            if len(content) != end - start:
                raise SourceUnavailable(
                    "SourceChanged",
                    f"{self._name(found.key)}: {end - start} bytes were expected, found {len(content)}",
                    "another attempt may work",
                )
            return content

        content = self._tried(found.key, attempt)
        with storage_errors(self._name(found.key)), target.open("r+b") as file:
            os.pwrite(file.fileno(), content, start)
        return len(content)

    def _tried(self, key: str, operation: Callable[[], T]) -> T:
        def attempt() -> T:
            with store_errors(self._name(key)):
                return operation()

        return retried(attempt)

    def _find(self, path: str) -> dict[str, Any]:
        self._filesystem.invalidate_cache()
        found: dict[str, Any] = self._filesystem.find(path, detail=True)
        return {name: info for name, info in found.items() if info.get("type") == "file"}

    def _described(self, path: str, info: dict[str, Any]) -> StoredObject:
        key = path.removeprefix(self._path("")).strip("/")
        if path != self._path(""):
            require_plain_name(key, where=str(self.uri))
        tag = str(info.get("ETag") or info.get("etag") or info.get("md5Hash") or info.get("LastModified"))
        return StoredObject(key, int(info["size"]), tag.strip('"'))

    def _path(self, key: str) -> str:
        return "/".join(part for part in (self.uri.bucket, self.uri.key, key) if part)

    def _name(self, key: str) -> str:
        return f"{self.uri}/{key}" if key else str(self.uri)


def open_store(uri: StoreUri, secret: Path | None) -> Store:
    """A store with the credentials of a Secret's folder, or those that the machine has.

    Nothing is asked of it yet. Raises NoAccess for keys that are missing or unreadable, InvalidSpec for an
    endpoint that must not be reached.
    """
    return Store(open_s3(secret) if uri.scheme == "s3" else open_gs(secret), uri)
