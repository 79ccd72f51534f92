"""Keeping the best weights of a training, judged on data that no gate reads."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from finetune_api.training import Selection
from finetune_trainer.errors import StorageFailed

if TYPE_CHECKING:
    from finetune_trainer.models.kinds import AnyModel


class BestWeights:
    """Judges the model at equal shares of the training, keeps the best weights on disk, brings them back."""

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
        self._file = folder / "best.safetensors"
        self._every = max(1, math.ceil(float(selection.every) * total_steps))
        self._total_steps = total_steps
        self.curve: list[tuple[int, float]] = []
        self.step: int | None = None
        self._best = -math.inf
        self._since_best = 0

    def is_due(self, step: int) -> bool:
        return step % self._every == 0 or step == self._total_steps

    def judge(self, model: "AnyModel", step: int) -> bool:
        """Judge the model as it is now. False when patience has run out."""
        metric = self._evaluate(model)
        self.curve.append((step, metric))
        if metric > self._best:
            self._keep(model, step, metric)
        else:
            self._since_best += 1
        return self._patience is None or self._since_best < self._patience

    def _keep(self, model: "AnyModel", step: int, metric: float) -> None:
        from safetensors.torch import save_model

        self._file.parent.mkdir(parents=True, exist_ok=True)
        save_model(model, str(self._file))
        self.step, self._best, self._since_best = step, metric, 0

    def restore(self, model: "AnyModel") -> None:
        """Load the best weights back. Raises StorageFailed unless every one of them is in place."""
        import torch
        from safetensors import SafetensorError
        from safetensors.torch import load_file, load_model

        if self.step is None:
            return
        try:
            load_model(model, self._file, strict=True)
            kept = load_file(self._file)
        except (OSError, SafetensorError, RuntimeError) as error:
            raise StorageFailed(
                "BestWeightsLost", f"the weights of step {self.step}, the best, cannot be read back: {error}"
            ) from error
        now = model.state_dict()
        wrong = [name for name, weights in kept.items() if not torch.equal(now[name].cpu(), weights)]
        if wrong:
            raise StorageFailed("BestWeightsLost", f"the model does not hold the best weights of {wrong[0]}")
