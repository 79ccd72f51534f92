"""One run under way: what is run, where things are, who is told, and who may stop it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from finetune_api.run_file import RunFile
from finetune_api.status import Phase
from finetune_trainer.checkpoints import Checkpoints
from finetune_trainer.interruption import StopRequest
from finetune_trainer.places import Places
from finetune_trainer.reporters.protocol import Reporter


@dataclass
class Run:
    """Handed from stage to stage.

    image: the trainer's, for lineage; checkpoints: once they are looked for, None without a place for them;
    seconds: by stage, so far.
    """

    file: RunFile
    places: Places
    reporter: Reporter
    stop: StopRequest
    image: str | None = None
    checkpoints: Checkpoints | None = None
    notes: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.places = replace(self.places, on_transfer=self.fetched)

    @contextmanager
    def stage(self, phase: Phase) -> Iterator[None]:
        """A stage that is told (once) and timed; a stop that was asked for comes into force before it."""
        self.stop.check()
        if phase not in self.seconds:
            self.reporter.begin(phase)
        start = time.monotonic()
        yield
        self.seconds[phase] = self.seconds.get(phase, 0.0) + time.monotonic() - start

    def note(self, message: str) -> None:
        """Something that a person should know: told now, and kept for the full report."""
        self.notes.append(message)
        self.reporter.note(message)

    def fetched(self, name: str, done: int, total: int) -> None:
        """Called while something is downloaded. Raises Interrupted once a stop was asked for."""
        self.stop.check()
        self.reporter.fetched(name, done, total)

    def heartbeat(self, done: int, total: int) -> None:
        """Called while inputs are encoded. Raises Interrupted once a stop was asked for."""
        self.stop.check()
        self.reporter.encoded(done, total)
