"""Keeping the best weights of a training, judged on data that no gate reads."""

import math
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune_api.training import Selection
from finetune_trainer.checkpoints.manifest import Damaged
from finetune_trainer.checkpoints.tensors import put_back, read_tensors, trained_tensors, write_tensors
from finetune_trainer.errors import StorageFailed

if TYPE_CHECKING:
    from finetune_trainer.models.kinds import AnyModel

BEST = "best"


class BestWeights:
    """Judges the model at equal shares of the training, keeps the best weights on disk, brings them back.

    Only of what is trained: the rest of the model is as it was.
    """

    def __init__(
        self,
        evaluate: Callable[["AnyModel"], float],
        selection: Selection,
        *,
        folder: Path,
        total_steps: int,
    ) -> None:
        self._evaluate = evaluate
        self._patience = selection.patience
        self._folder = folder / "best"
        self._every = max(1, math.ceil(float(selection.every) * total_steps))
        self._total_steps = total_steps
        self.curve: list[tuple[int, float]] = []
        self.step: int | None = None
        self._best = -math.inf
        self._since_best = 0

    def is_due(self, step: int) -> bool:
        """Whether there is a judgement to make after this step; False once it is made."""
        judged = bool(self.curve) and self.curve[-1][0] == step
        return not judged and (step % self._every == 0 or step == self._total_steps)

    def judge(self, model: "AnyModel", step: int) -> bool:
        """Judge the model as it is now. False when patience has run out."""
        metric = self._evaluate(model)
        self.curve.append((step, metric))
        if metric > self._best:
            self._keep(model, step, metric)
        else:
            self._since_best += 1
        return not self.is_out_of_patience

    @property
    def is_out_of_patience(self) -> bool:
        return self._patience is not None and self._since_best >= self._patience

    def _keep(self, model: "AnyModel", step: int, metric: float) -> None:
        self._empty_folder()
        write_tensors(self._folder, BEST, trained_tensors({"model": model}))
        self.step, self._best, self._since_best = step, metric, 0

    def restore(self, model: "AnyModel") -> None:
        """Load the best weights back. Raises StorageFailed unless every one of them is in place."""
        import torch

        if self.step is None:
            return
        now = trained_tensors({"model": model})
        try:
            put_back(self._folder, BEST, now)
            wrong = [n for n, kept in read_tensors(self._folder, BEST) if not torch.equal(now[n].cpu(), kept)]
        except (OSError, Damaged) as error:
            raise StorageFailed(
                "BestWeightsLost", f"the weights of step {self.step}, the best, cannot be read back: {error}"
            ) from error
        if wrong:
            raise StorageFailed("BestWeightsLost", f"the model does not hold the best weights of {wrong[0]}")

    def copy_to(self, folder: Path) -> None:
        """The best weights so far, for a checkpoint."""
        _copy(self._folder, folder)

    def to_json(self) -> dict[str, Any]:
        return {"curve": self.curve, "step": self.step, "best": self._best, "sinceBest": self._since_best}

    def take(self, state: Mapping[str, Any], folder: Path) -> None:
        """Go on where a checkpoint in this folder was. Its best weights are copied: it will be removed."""
        self.curve = [(step, metric) for step, metric in state["curve"]]
        self.step, self._best, self._since_best = state["step"], state["best"], state["sinceBest"]
        self._empty_folder()
        _copy(folder, self._folder)

    def _empty_folder(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)


def _copy(source: Path, target: Path) -> None:
    for path in source.glob(f"{BEST}-*"):
        shutil.copyfile(path, target / path.name)
