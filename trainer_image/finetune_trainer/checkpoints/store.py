"""In what the places that checkpoints are kept in differ."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

_NAME = re.compile(r"step-(\d{1,12})")

Write = Callable[[Path], None]
"""Fills an empty folder, COMPLETE last."""


def name_of(step: int) -> str:
    """Of the checkpoint of a step."""
    return f"step-{step}"


def step_of(name: str) -> int | None:
    """The step that a name is of, None where it is no checkpoint's."""
    found = _NAME.fullmatch(name)
    return int(found[1]) if found else None


def is_earlier(name: str, run: str) -> bool:
    """Whether the first one names a run before the second one."""
    return name.isdecimal() and int(name) < int(run)


class CheckpointStore(Protocol):
    """The checkpoints of one run. All may raise StorageFailed, SourceUnavailable and NoAccess."""

    @property
    def where(self) -> str:
        """For people: the folder or URI of the run's checkpoints."""

    def names(self) -> Mapping[str, bool]:
        """Of all checkpoints that were begun, and whether they were finished."""

    # Names of what follows are those of checkpoints, and of what else a run keeps.

    def save(self, name: str, write: Write) -> None:
        """Let a checkpoint appear, in place of one of that name; a half of it never passes for whole."""

    def fetch(self, name: str) -> Path:
        """Its folder on this machine, to be read only. Raises Damaged where it was not finished."""

    def remove(self, name: str) -> None:
        """Remove it, finished or not; what an interruption leaves of it is not taken for a whole one."""

    def clear(self) -> None:
        """Remove everything of this run."""

    def clear_earlier_runs(self) -> None:
        """Remove everything of runs of this finetune with a smaller number: none of them goes on any more."""
