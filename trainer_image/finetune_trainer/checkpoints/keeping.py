"""Which checkpoint is used, how many are kept, and what happens when one cannot be read or written."""

import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from finetune_trainer.checkpoints.manifest import Checkpoint, Damaged, Origin, read_sealed, write_sealed
from finetune_trainer.checkpoints.store import CheckpointStore, name_of, step_of
from finetune_trainer.failures import as_trainer_error

logger = logging.getLogger(__name__)


class Checkpoints:
    """Of one run.

    newest_step: of the newest that another attempt can go on from, as far as is known; None without one.
    """

    def __init__(
        self, store: CheckpointStore, *, keep: int, every_seconds: float, note: Callable[[str], None]
    ) -> None:
        """note: told what a person should know."""
        self._store = store
        self._keep = keep
        self._every_seconds = every_seconds
        self._note = note
        self._good: list[int] = []
        self._last = time.monotonic()
        self._failing: set[str] = set()
        self.newest_step: int | None = None

    @property
    def where(self) -> str:
        return self._store.where

    def look(self) -> None:
        """See what there is, and remove what earlier runs left.

        Raises what the store raises: to begin anew would waste what it may hold.
        """
        self._store.clear_earlier_runs()
        whole = [step_of(name) for name, finished in self._store.names().items() if finished]
        self.newest_step = max((step for step in whole if step is not None), default=None)

    def find(self, origin: Origin) -> Checkpoint | None:
        """The newest one of this origin that is whole. What is passed over is told."""
        names = {step_of(name) or 0: finished for name, finished in self._store.names().items()}
        for step in sorted(names, reverse=True):
            try:
                found = read_sealed(self._store.fetch(name_of(step)))
            except Damaged as damage:
                self._note(f"the checkpoint of step {step} is passed over: {damage}")
                continue
            if (other := found.origin.difference(origin)) is None:
                self._good = sorted(s for s, finished in names.items() if finished and s <= step)
                self.newest_step = step
                return found
            self._note(f"the checkpoint of step {step} is passed over: it is of another run ({other})")
        self.newest_step = None
        return None

    def begin(self) -> None:
        """The training begins: from now on count the time to the next checkpoint."""
        self._last = time.monotonic()

    def is_due(self) -> bool:
        return time.monotonic() - self._last >= self._every_seconds

    def save(
        self, step: int, origin: Origin, write: Callable[[Path], Mapping[str, Any]], *, finished: bool = False
    ) -> bool:
        """Write one and remove what is too old. False when that failed, which is told and stops nothing."""
        fill = partial(write_sealed, step=step, finished=finished, origin=origin, write=write)
        start = time.monotonic()
        try:
            self._store.save(name_of(step), fill)
        except Exception as error:  # noqa: BLE001 - whatever it is, the training goes on
            self._tell_failure(step, error)
            return False
        finally:
            self._last = time.monotonic()
        logger.info("checkpoint of step %d written in %.1f s", step, time.monotonic() - start)
        self._good = [*(good for good in self._good if good != step), step][-self._keep :]
        self.newest_step = step
        self._prune()
        return True

    def find_part(self, name: str, origin: Origin) -> Checkpoint | None:
        """What else the run keeps beside its checkpoints; None where there is none of this origin."""
        try:
            found = read_sealed(self._store.fetch(name))
        except Damaged:
            return None
        return found if found.origin == origin else None

    def save_part(self, name: str, origin: Origin, write: Callable[[Path], Mapping[str, Any]]) -> None:
        """Keep it until the run is over. What cannot be written is told in the log alone."""
        fill = partial(write_sealed, step=0, finished=False, origin=origin, write=write)
        try:
            self._store.save(name, fill)
        except Exception as error:  # noqa: BLE001 - whatever it is, the run goes on
            logger.warning("%s cannot be kept in %s: %s", name, self.where, as_trainer_error(error))

    def clear(self) -> None:
        """The run is over. What cannot be removed is told, for it takes room until somebody does."""
        self.newest_step = None
        try:
            self._store.clear()
        except Exception as error:  # noqa: BLE001 - the run's result stands
            logger.warning("checkpoints in %s cannot be removed: %s", self.where, as_trainer_error(error))

    def _prune(self) -> None:
        try:
            for name in self._store.names():
                if step_of(name) not in self._good:
                    self._store.remove(name)
        except Exception as error:  # noqa: BLE001 - the next checkpoint tries again
            logger.warning("old checkpoints in %s remain: %s", self.where, as_trainer_error(error))

    def _tell_failure(self, step: int, error: Exception) -> None:
        """Into the log each time, to people once for every reason."""
        known = as_trainer_error(error)
        logger.warning("the checkpoint of step %d cannot be written: %s", step, known)
        if known.reason not in self._failing:
            self._failing.add(known.reason)
            self._note(f"the checkpoint of step {step} could not be written, the training goes on: {known}")
