"""Who is told how far a run is: the operator, a person at a terminal, or a log. Telling never stops a run."""

from collections.abc import Sequence
from typing import Protocol

from finetune_api.status import Phase
from finetune_trainer.training.outcome import TrainingProgress


class Reporter(Protocol):
    """Told about a run as it goes. Must return at once and never raise."""

    def begin(self, phase: Phase) -> None:
        """A stage begins."""

    def fetched(self, name: str, done: int, total: int) -> None:
        """So many bytes of a download are here; total: 0 when it is not known."""

    def encoded(self, done: int, total: int) -> None:
        """So many inputs of an evaluation are encoded."""

    def resumed(self, step: int, total_steps: int) -> None:
        """The training begins after this step, of a checkpoint; 0: it begins at the beginning."""

    def trained(self, progress: TrainingProgress) -> None:
        """A training step is done."""

    def checkpointed(self, step: int) -> None:
        """There is a checkpoint of this step, which another attempt can go on from."""

    def note(self, message: str) -> None:
        """Something that a person should know."""


class Several:
    """Tells several reporters, in order."""

    def __init__(self, reporters: Sequence[Reporter]) -> None:
        self._reporters = reporters

    def begin(self, phase: Phase) -> None:
        for reporter in self._reporters:
            reporter.begin(phase)

    def fetched(self, name: str, done: int, total: int) -> None:
        for reporter in self._reporters:
            reporter.fetched(name, done, total)

    def encoded(self, done: int, total: int) -> None:
        for reporter in self._reporters:
            reporter.encoded(done, total)

    def resumed(self, step: int, total_steps: int) -> None:
        for reporter in self._reporters:
            reporter.resumed(step, total_steps)

    def trained(self, progress: TrainingProgress) -> None:
        for reporter in self._reporters:
            reporter.trained(progress)

    def checkpointed(self, step: int) -> None:
        for reporter in self._reporters:
            reporter.checkpointed(step)

    def note(self, message: str) -> None:
        for reporter in self._reporters:
            reporter.note(message)
