"""What training tells and takes."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from finetune_trainer.models.kinds import AnyModel


@dataclass(frozen=True)
class TrainingProgress:
    """How far the training is; told after every step.

    loss: of that step. samples_per_second: rows, over all steps of this attempt but the first.
    remaining_seconds: an estimate for the training alone.
    """

    step: int
    total_steps: int
    epoch: float
    loss: float | None
    samples_per_second: float | None
    remaining_seconds: int | None


class StopFlag(Protocol):
    """Raised by a signal handler; the training looks at it after every step."""

    def is_set(self) -> bool:
        """Whether to end."""


@dataclass(frozen=True)
class TrainingResult:
    """What came out.

    loss_curve: (step, loss); the loss is the mean since the entry before.
    mini_batch_size: rows that were encoded at a time.
    best_step: the step whose weights the model holds, None without selection.
    selection_curve: (step, metric) of every judgement.
    stopped: ended by the stop flag before its time.
    losses: what each train set was trained with, in words.
    resumed_at: steps after which an attempt went on from a checkpoint of the one before, oldest first.
    deviations: in what those attempts differed, so that the result need not be that of a single one.
    """

    model: "AnyModel"
    steps: int
    loss_curve: list[tuple[int, float]]
    mini_batch_size: int
    best_step: int | None = None
    selection_curve: list[tuple[int, float]] = field(default_factory=list)
    stopped: bool = False
    losses: tuple[str, ...] = ()
    resumed_at: tuple[int, ...] = ()
    deviations: tuple[str, ...] = ()
