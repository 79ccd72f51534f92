"""pvc://: a version is a folder, renamed into its place when it is whole.

Names that begin with a dot are being written or removed; readers must pass them over.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from finetune_trainer.durable import remove, write_file, write_folder
from finetune_trainer.publishing.store import LATEST, REPORT
from finetune_trainer.storage import storage_errors


@dataclass(frozen=True)
class FolderStore:
    """root: the target's folder; aside: begins the names of what this finetune has not finished."""

    uri: str
    root: Path
    aside: str

    def errors(self, doing: str) -> AbstractContextManager[None]:
        return storage_errors(f"{doing} {self.uri}")

    def names(self) -> list[str]:
        return [path.name for path in self.root.iterdir()] if self.root.is_dir() else []

    def read_latest(self) -> bytes | None:
        return _read(self.root / LATEST)

    def read_report(self, name: str) -> bytes | None:
        return _read(self.root / name / REPORT)

    def uri_of(self, name: str) -> str:
        return f"{self.uri}/{name}"

    pinned_uri = uri_of

    def prepare(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        for path in self.root.glob(f"{self.aside}*"):
            remove(path)
        probe = self._aside("probe")
        probe.write_bytes(b"")
        probe.unlink()

    def write(self, name: str, model: Path, files: Mapping[str, bytes], *, latest: bytes) -> None:  # noqa: ARG002 - a write of its own here
        write_folder(self.root / name, aside=self._aside(name), source=model, files=files)

    def write_latest(self, content: bytes, *, replace: bool) -> None:
        write_file(self.root / LATEST, content, aside=self._aside(LATEST), replace=replace)

    def remove(self, name: str) -> None:
        """Out of sight first, for nobody must read one of which half is gone."""
        gone = self._aside(name)
        remove(gone)
        (self.root / name).rename(gone)
        remove(gone)

    def folder(self, name: str) -> Path | None:
        return self.root / name

    def fetch(self, name: str, into: Path) -> Path:  # noqa: ARG002 - nothing to copy
        return self.root / name

    def _aside(self, name: str) -> Path:
        return self.root / f"{self.aside}{name}"


def _read(path: Path) -> bytes | None:
    """None also where a file stands in the way of a folder."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
