"""Second stage: sources become rows to train on and sets to measure on, or an error that says what is wrong.

`check_inputs` is called once the model is loaded: only then is it known what it can read.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from finetune_api.data import EvalSet
from finetune_api.spec import FinetuneSpec
from finetune_trainer.errors import InvalidData
from finetune_trainer.inputs import (
    Cells,
    Collection,
    EvaluationData,
    Input,
    LabelledData,
    RetrievalData,
    TrainingData,
    TrainingSet,
)
from finetune_trainer.judged import load_judged
from finetune_trainer.overlap import resolve_overlap
from finetune_trainer.pairs import load_labelled, load_rankings, load_training_set
from finetune_trainer.places import Places
from finetune_trainer.tables import Kind

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

__all__ = [
    "Cells",
    "Collection",
    "EvaluationData",
    "Input",
    "LabelledData",
    "RetrievalData",
    "TrainingData",
    "TrainingSet",
    "check_inputs",
    "load_evaluation_data",
    "load_training_data",
    "resolve_overlap",
]

RANKINGS = ("InformationRetrieval", "Reranking", "NanoBEIR")
"""Evaluators of rankings; all others measure row by row."""


def load_training_data(spec: FinetuneSpec, places: Places) -> TrainingData:
    """The rows of every train set."""
    return TrainingData(tuple(load_training_set(source, places) for source in spec.data.train))


def load_evaluation_data(spec: FinetuneSpec, places: Places) -> dict[str, EvaluationData]:
    """What each evaluator measures on, by the evaluator's name; its type says in which form."""
    loaded: dict[tuple[str, bool], EvaluationData] = {}
    by_evaluator = {}
    for evaluator in spec.evaluation.evaluators:
        form = evaluator.data, evaluator.type in RANKINGS
        if form not in loaded:
            loaded[form] = _load(spec.data.eval_set(evaluator.data), places, rankings=form[1])
        by_evaluator[evaluator.name] = loaded[form]
    return by_evaluator


def _load(source: EvalSet, places: Places, *, rankings: bool) -> EvaluationData:
    if (table := source.table) is None:
        return load_judged(source, places)
    if rankings:
        return load_rankings(table, places, source.group_by)
    return load_labelled(table, places, source.group_by)


def check_inputs(
    model: "SentenceTransformer", training: TrainingData, evaluation: Sequence[EvaluationData]
) -> None:
    """Raises InvalidData when the data has inputs that the model cannot read."""
    for one in training.sets:
        for column in one.input_columns:
            kinds = {_kind(one.rows.features[column])}
            _require_support(model, kinds, f"column of role {column!r} in train set {one.name!r}")
    for data in evaluation:
        for role, items in collections_by_role(data).items():
            assert isinstance(items.inputs, Cells)  # noqa: S101 - this stage has made it
            kinds = {_kind(f) for f in items.inputs.features}
            _require_support(model, kinds, f"{role} of eval set {data.name!r}")


def collections_by_role(data: EvaluationData) -> dict[str, Collection]:
    if isinstance(data, RetrievalData):
        return {"queries": data.queries, "corpus": data.corpus}
    return {f"inputs {n}": items for n, items in enumerate(data.inputs)}


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
