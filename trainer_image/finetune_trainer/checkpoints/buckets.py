"""Checkpoints in a folder of a bucket. Stores have no rename, so COMPLETE is the object written last."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from finetune_trainer.checkpoints.manifest import COMPLETE, Damaged
from finetune_trainer.checkpoints.store import Write, is_earlier, step_of
from finetune_trainer.sources.stores import Store, StoredObject
from finetune_trainer.sources.transfers import count_nothing
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
        keys = [found.key for found in self.store.list()]
        begun = {key.partition("/")[0] for key in keys}
        return {name: f"{name}/{COMPLETE}" in keys for name in sorted(begun) if step_of(name) is not None}

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
        self.store.download(found, folder, on_bytes=count_nothing)
        return folder / name

    def remove(self, name: str) -> None:
        self._delete(self.store.list(name))

    def clear(self) -> None:
        self._delete(self.store.list())

    def clear_earlier_runs(self) -> None:
        folder, _, run = self.store.uri.key.rpartition("/")
        runs = self.store.at(replace(self.store.uri, key=folder))
        runs.delete([found.key for found in runs.list() if is_earlier(found.key.partition("/")[0], run)])

    def _delete(self, found: Sequence[StoredObject]) -> None:
        """COMPLETE first: half of one must not pass for a whole one."""
        keys = [one.key for one in found]
        self.store.delete(sorted(keys, key=lambda key: not key.endswith(f"/{COMPLETE}")))

    def _empty_scratch(self) -> Path:
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir(parents=True)
        return self.scratch
