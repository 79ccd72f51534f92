"""Checkpoints in a folder: of a volume in a pod, of the work folder on a person's machine."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

from finetune_trainer.checkpoints.manifest import Damaged
from finetune_trainer.checkpoints.store import Write, is_earlier, step_of
from finetune_trainer.durable import appear, remove
from finetune_trainer.storage import storage_errors

_ASIDE = ".unfinished."


@dataclass(frozen=True)
class FolderCheckpoints:
    """root: shared by runs; run: path below it of this one's checkpoints."""

    root: Path
    run: Path

    @property
    def folder(self) -> Path:
        return self.root / self.run

    @property
    def where(self) -> str:
        return str(self.folder)

    def names(self) -> Mapping[str, bool]:
        with self._errors("reading"):
            found = [path.name for path in self.folder.iterdir()] if self.folder.is_dir() else []
        begun = {name.removeprefix(_ASIDE): not name.startswith(_ASIDE) for name in sorted(found)}
        return {name: whole for name, whole in begun.items() if step_of(name) is not None}

    def save(self, name: str, write: Write) -> None:
        aside = self.folder / f"{_ASIDE}{name}"
        with self._errors("writing"):
            remove(aside)
            aside.mkdir(parents=True)
            try:
                write(aside)
                remove(self.folder / name)
                appear(self.folder / name, aside=aside)
            except Exception:
                # Of a full disk, the half that was written is what others miss.
                remove(aside)
                raise

    def fetch(self, name: str) -> Path:
        folder = self.folder / name
        if not folder.is_dir():
            raise Damaged("it was not finished")
        return folder

    def remove(self, name: str) -> None:
        """Out of sight first: half of one must not pass for a whole one."""
        aside = self.folder / f"{_ASIDE}{name}"
        with self._errors("removing"):
            remove(aside)
            if (self.folder / name).is_dir():
                (self.folder / name).rename(aside)
                remove(aside)

    def clear(self) -> None:
        """The folders above it too, once they are empty."""
        with self._errors("removing"):
            remove(self.folder)
        with suppress(OSError):
            for parent in list(self.run.parents)[:-1]:
                (self.root / parent).rmdir()

    def clear_earlier_runs(self) -> None:
        with self._errors("removing"):
            for path in list(self.folder.parent.iterdir()) if self.folder.parent.is_dir() else []:
                if is_earlier(path.name, self.run.name):
                    remove(path)

    def _errors(self, doing: str) -> AbstractContextManager[None]:
        return storage_errors(f"{doing} checkpoints in {self.where}")
