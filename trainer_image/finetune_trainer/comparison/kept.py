"""What an earlier attempt found of the base model, so that another one need not measure it again."""

import json
import logging
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from finetune_trainer.checkpoints import Damaged, Origin
from finetune_trainer.checkpoints.tensors import read_tensors, write_tensors
from finetune_trainer.checkpoints.trees import flatten, rebuild
from finetune_trainer.digests import content_digest
from finetune_trainer.evaluation import EvaluatorResult, Ranking, Scores
from finetune_trainer.evaluation.measures import Classes, Correlation, Decisions, Divergence, Mean
from finetune_trainer.evaluation.paraphrases import MinedPairs
from finetune_trainer.reporting.results import setting_of
from finetune_trainer.run import Run

if TYPE_CHECKING:
    from finetune_trainer.stages import Material

logger = logging.getLogger(__name__)

Results = Mapping[str, EvaluatorResult]
BASELINE = "baseline"
_CLASS = "$class"
_CLASSES: dict[str, type[Any]] = {
    c.__name__: c
    for c in (
        EvaluatorResult, Scores, Ranking, Mean, Correlation, Decisions, Classes, Divergence, MinedPairs,
    )
}  # fmt: skip


def find_baseline(run: Run, material: "Material") -> Results | None:
    """None where there is none of this spec, model, data, device and versions that can be read."""
    if run.checkpoints is None:
        return None
    found = run.checkpoints.find_part(BASELINE, _origin(run, material))
    if found is None:
        return None
    try:
        tensors = dict(read_tensors(found.folder, BASELINE))
        results: Results = _from_tree(rebuild(found.state["results"], tensors))
    except (Damaged, LookupError, TypeError, ValueError):
        # Another version of the trainer may have written it.
        return None
    logger.info("the base model was measured by an earlier attempt")
    return results


def keep_baseline(run: Run, material: "Material", results: Results) -> None:
    """Never raises: what cannot be kept is measured again."""

    def write(folder: Path) -> dict[str, Any]:
        tensors: dict[str, torch.Tensor] = {}
        written = flatten(_to_tree(results), BASELINE, tensors)
        write_tensors(folder, BASELINE, tensors)
        return {"results": written}

    if run.checkpoints is not None:
        run.checkpoints.save_part(BASELINE, _origin(run, material), write)


def _origin(run: Run, material: "Material") -> Origin:
    """The numbers of other versions or another device may differ, and must not stand beside ours."""
    setting = json.dumps(setting_of(material.model), sort_keys=True)
    data = content_digest([setting, *(f"{name} {d.digest}" for name, d in material.evaluation.items())])
    return Origin(run.file.spec_hash, material.revision, data, total_steps=0)


def _to_tree(value: Any) -> Any:
    match value:
        case np.ndarray():
            return torch.from_numpy(np.ascontiguousarray(value))
        case Mapping():
            return {key: _to_tree(part) for key, part in value.items()}
        case tuple():
            return tuple(_to_tree(part) for part in value)
        case _ if type(value).__name__ in _CLASSES:
            content = {f.name: _to_tree(getattr(value, f.name)) for f in fields(value)}
            return {_CLASS: type(value).__name__, **content}
        case _:
            return value


def _from_tree(tree: Any) -> Any:
    match tree:
        case torch.Tensor():
            return tree.numpy()
        case {"$class": str(name), **content}:
            return _CLASSES[name](**{str(key): _from_tree(part) for key, part in content.items()})
        case dict():
            return {key: _from_tree(part) for key, part in tree.items()}
        case tuple():
            return tuple(_from_tree(part) for part in tree)
        case _:
            return tree
