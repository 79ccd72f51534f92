"""s3:// and gs://: a version is the objects below its name, whole when its report is there, written last.

Stores have no rename, so each version begins with a note of whose it is: what has the note and no report was
not finished, and is removed by the owner's next attempt.
"""

import json
import tempfile
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from finetune_trainer.publishing.contents import model_files
from finetune_trainer.publishing.store import LATEST, REPORT
from finetune_trainer.sources.stores import Store
from finetune_trainer.sources.transfers import count_nothing
from finetune_trainer.storage import storage_errors

OWNER = ".finetune.json"
"""{namespace, name} of who began the version. Hidden, and so no part of the model."""


@dataclass(frozen=True)
class ObjectStore:
    """owner: {namespace, name} of the finetune; work: scratch space of this machine."""

    store: Store
    owner: Mapping[str, str]
    work: Path

    @property
    def uri(self) -> str:
        return str(self.store.uri)

    def errors(self, doing: str) -> AbstractContextManager[None]:
        """Of this machine's disk; the store tells its own."""
        return storage_errors(f"{doing} {self.uri}")

    def names(self) -> list[str]:
        return list(self._versions())

    def read_latest(self) -> bytes | None:
        return self.store.read(LATEST)

    def read_report(self, name: str) -> bytes | None:
        """In pieces, for the report of a large evaluation is no small object."""
        with tempfile.TemporaryDirectory(dir=self._work()) as folder:
            found = self.store.list(f"{name}/{REPORT}")
            self.store.download(found, Path(folder), on_bytes=count_nothing)
            return (Path(folder) / name / REPORT).read_bytes() if found else None

    def uri_of(self, name: str) -> str:
        return f"{self.uri}/{name}"

    pinned_uri = uri_of

    def prepare(self) -> None:
        for name, keys in self._versions().items():
            if f"{name}/{REPORT}" not in keys and self.store.read(f"{name}/{OWNER}") == self._note:
                self.remove(name)
        probe = f".unfinished.{self.owner['namespace']}.{self.owner['name']}.probe"
        self.store.write(probe, b"")
        self.store.delete([probe])

    def write(self, name: str, model: Path, files: Mapping[str, bytes], *, latest: bytes) -> None:  # noqa: ARG002 - a write of its own here
        self.store.write(f"{name}/{OWNER}", self._note, replace=False)
        for key, path in model_files(model).items():
            if key not in files:
                self.store.upload(path, f"{name}/{key}")
        for key in sorted(files, key=lambda key: key == REPORT):
            self.store.write(f"{name}/{key}", files[key])

    def write_latest(self, content: bytes, *, replace: bool) -> None:
        self.store.write(LATEST, content, replace=replace)

    def remove(self, name: str) -> None:
        """The report first, after which it is no version any more; the note of whose it was last."""
        keys = self._versions().get(name, [])
        order = {f"{name}/{REPORT}": 0, f"{name}/{OWNER}": 2}
        self.store.delete(sorted(keys, key=lambda key: order.get(key, 1)))

    def folder(self, name: str) -> Path | None:  # noqa: ARG002 - never on this machine
        return None

    def fetch(self, name: str, into: Path) -> Path:
        self.store.download(self.store.list(name), into, on_bytes=count_nothing)
        return into / name

    def _versions(self) -> dict[str, list[str]]:
        """The keys below every name that has some."""
        versions: dict[str, list[str]] = {}
        for found in self.store.list():
            name, slash, _ = found.key.partition("/")
            if slash:
                versions.setdefault(name, []).append(found.key)
        return versions

    @property
    def _note(self) -> bytes:
        return json.dumps(dict(self.owner)).encode()

    def _work(self) -> Path:
        self.work.mkdir(parents=True, exist_ok=True)
        return self.work
