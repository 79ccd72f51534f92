"""Models as they are saved, reloaded and evaluated: the base, the published and the tuned one alike."""

import gc
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from finetune_trainer.comparison.kept import find_baseline, keep_baseline
from finetune_trainer.comparison.measurement import check_gates, wanted_metrics
from finetune_trainer.evaluation import EvaluatorResult, evaluate
from finetune_trainer.models import ONLY, embedding_dimension, has_new_layers, reload_model, save_model
from finetune_trainer.run import Run

if TYPE_CHECKING:
    from finetune_trainer.models.kinds import AnyModel
    from finetune_trainer.stages import Material


def measure_as_saved(
    run: Run, material: "Material", model: "AnyModel", folder: Path
) -> dict[str, EvaluatorResult]:
    """Save into `folder`, reload and evaluate: of both models, what is measured is what users get."""
    spec = run.file.spec
    save_model(model, folder, spec.model)
    return measure_saved(run, material, folder)


def measure_saved(run: Run, material: "Material", folder: Path) -> dict[str, EvaluatorResult]:
    """Load and evaluate, at those of the dimensions that the model has; nothing when it has none of them."""
    spec = run.file.spec
    saved = reload_model(
        folder,
        spec.model,
        base=material.folders.get(ONLY),
        allow_remote_code=run.file.allow_remote_code,
    )
    full = embedding_dimension(saved)
    dimensions = tuple(n for n in material.dimensions if n is None or n <= full)
    results = {}
    for evaluator in spec.evaluation.evaluators if dimensions else []:
        results[evaluator.name] = evaluate(
            saved,
            material.evaluation[evaluator.name],
            evaluator,
            metrics=wanted_metrics(spec, evaluator.name),
            dimensions=dimensions,
            similarity=spec.model.similarity_name,
            autocast=spec.training.autocast,
            heartbeat=run.heartbeat,
        )
    # Training needs the room of this second copy; the library keeps it in cycles.
    del saved
    gc.collect()
    return results


@dataclass(frozen=True)
class Baselines:
    """Results by evaluator of what the tuned model is compared with; empty where nothing was measured."""

    base: Mapping[str, EvaluatorResult] = field(default_factory=dict)
    published: Mapping[str, EvaluatorResult] = field(default_factory=dict)


def measure_baselines(
    run: Run, material: "Material", scratch: Path, published: Callable[[], Path | None]
) -> Baselines:
    """The base model, unless its scores are random, and the published one when that is compared with.

    published: fetches it; None before there is one. Raises InvalidSpec when a gate asks for a gain and there
    is nothing to gain over.
    """
    spec = run.file.spec
    folder = published() if spec.evaluation.compare_to == "Published" else None
    has_baseline = folder is not None or not material.has_new_head
    check_gates(spec, material.evaluation, has_baseline=has_baseline)
    if spec.evaluation.compare_to == "Published" and folder is None:
        run.note("nothing is published yet, so the tuned model is compared with the base model")
    of_published = measure_saved(run, material, folder) if folder is not None else {}
    if material.has_new_head:
        run.note("the base model was not measured: its head is new, and its scores are random")
        return Baselines(published=of_published)
    if has_new_layers(material.folders, spec.model):
        run.note("the base model was measured with new layers, whose weights are random")
    base = find_baseline(run, material)
    if base is None:
        base = measure_as_saved(run, material, material.model, scratch / "base")
        shutil.rmtree(scratch / "base")
        keep_baseline(run, material, base)
    return Baselines(base, of_published)
