"""Checkpoints in a folder of a bucket. Stores have no rename, so COMPLETE is the object written last."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from finetune_trainer.checkpoints.manifest import COMPLETE, Damaged
from finetune_trainer.checkpoints.store import Write, step_of
from finetune_trainer.sources.stores import Store, StoredObject
from finetune_trainer.storage import storage_errors


@dataclass(frozen=True)
class BucketCheckpoints:
    """store: the folder of this run's checkpoints; scratch: space of this machine for one of them."""

    store: Store
    scratch: Path

    @property
    def where(self) -> str:
        return str(self.store.uri)

    def names(self) -> Mapping[str, bool]:
        return {name: f"{name}/{COMPLETE}" in keys for name, keys in self._keys().items()}

    def save(self, name: str, write: Write) -> None:
        folder = self._empty_scratch()
        try:
            with storage_errors(f"writing a checkpoint below {self.scratch}"):
                write(folder)
            self.remove(name)
            for path in sorted(folder.iterdir(), key=lambda path: path.name == COMPLETE):
                self.store.upload(path, f"{name}/{path.name}")
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def fetch(self, name: str) -> Path:
        found = self.store.list(name)
        if not any(one.key == f"{name}/{COMPLETE}" for one in found):
            raise Damaged("it was not finished")
        folder = self._empty_scratch()
        self.store.download(found, folder, on_bytes=_ignore)
        return folder / name

    def remove(self, name: str) -> None:
        """COMPLETE first: half of one must not pass for a whole one."""
        keys = self._keys(self.store.list(name)).get(name, [])
        self.store.delete(sorted(keys, key=lambda key: not key.endswith(f"/{COMPLETE}")))

    def clear(self) -> None:
        for name in self._keys():
            self.remove(name)

    def _keys(self, found: list[StoredObject] | None = None) -> dict[str, list[str]]:
        """The keys below every name that a checkpoint has."""
        names: dict[str, list[str]] = {}
        for one in self.store.list() if found is None else found:
            name, slash, _ = one.key.partition("/")
            if slash and step_of(name) is not None:
                names.setdefault(name, []).append(one.key)
        return names

    def _empty_scratch(self) -> Path:
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir(parents=True)
        return self.scratch


def _ignore(_bytes: int) -> None:
    """A training that goes on shows no progress of its own before its first step."""
