"""Second stage: sources become rows to train on and sets to measure on, or an error that says what is wrong.

`check_inputs` is called once the model is loaded: only then is it known what it can read.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from finetune_api.data import EvalSet
from finetune_api.spec import FinetuneSpec
from finetune_trainer.errors import InvalidData
from finetune_trainer.inputs import Cells, Collection, EvaluationData, Input, TrainingData
from finetune_trainer.judged import load_judged
from finetune_trainer.overlap import resolve_overlap
from finetune_trainer.pairs import load_evaluation_pairs, load_training_pairs
from finetune_trainer.places import Places
from finetune_trainer.tables import Kind

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = [
    "Cells",
    "Collection",
    "EvaluationData",
    "Input",
    "TrainingData",
    "check_inputs",
    "load_evaluation_data",
    "load_training_data",
    "resolve_overlap",
]


def load_training_data(spec: FinetuneSpec, places: Places) -> TrainingData:
    """The rows of the train set."""
    (source,) = spec.data.train
    return load_training_pairs(source, places)


def load_evaluation_data(spec: FinetuneSpec, places: Places) -> dict[str, EvaluationData]:
    """The eval sets that an evaluator uses, by name."""
    used = dict.fromkeys(e.data for e in spec.evaluation.evaluators)
    return {name: _load(spec.data.eval_set(name), places) for name in used}


def _load(source: EvalSet, places: Places) -> EvaluationData:
    if (pairs := source.pairs) is not None:
        return load_evaluation_pairs(pairs, places)
    return load_judged(source, places)


def check_inputs(
    model: "SentenceTransformer", training: TrainingData, evaluation: Sequence[EvaluationData]
) -> None:
    """Raises InvalidData when the data has inputs that the model cannot read."""
    for column, feature in training.rows.features.items():
        _require_support(model, {_kind(feature)}, f"column of role {column!r} in the train set")
    for data in evaluation:
        for role, items in (("queries", data.queries), ("corpus", data.corpus)):
            assert isinstance(items.inputs, Cells)  # noqa: S101 - this stage has made it
            kinds = {_kind(f) for f in items.inputs.features}
            _require_support(model, kinds, f"{role} of eval set {data.name!r}")


def _kind(feature: object) -> Kind:
    return "text" if getattr(feature, "dtype", None) in {"string", "large_string"} else "image"


def _require_support(model: "SentenceTransformer", kinds: set[Kind], where: str) -> None:
    unsupported = sorted(k for k in kinds if not model.supports(k))
    if unsupported:
        found = ", ".join(str(m) for m in model.modalities)
        raise InvalidData(
            "UnsupportedModality",
            f"{where} holds {unsupported[0]} inputs; the model reads {found}",
            "take another model, or other columns",
        )
