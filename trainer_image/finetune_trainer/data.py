"""Second stage: sources become rows to train on and sets to measure on, or an error that says what is wrong.

`fit_to_model` is called once the model is loaded: only then is it known what it can read.
"""

from finetune_api.data import EvalSet
from finetune_api.spec import FinetuneSpec
from finetune_trainer.duplicates import refuse_single_content
from finetune_trainer.errors import InvalidSpec
from finetune_trainer.fitting import Fitted, fit_to_model
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
from finetune_trainer.nano_beir import load_nano_beir
from finetune_trainer.overlap import resolve_overlap
from finetune_trainer.pairs import load_labelled, load_rankings, load_training_set
from finetune_trainer.places import Places

__all__ = [
    "Cells",
    "Collection",
    "EvaluationData",
    "Fitted",
    "Input",
    "LabelledData",
    "RetrievalData",
    "TrainingData",
    "TrainingSet",
    "fit_to_model",
    "load_evaluation_data",
    "load_training_data",
    "resolve_overlap",
]

_FORMS = {"InformationRetrieval": "Rankings", "Reranking": "Rankings", "NanoBEIR": "NanoBEIR"}
"""What evaluators measure on; those that are not here measure row by row."""
_WANTED = {
    "Labelled": "`uri` and `columns`",
    "Rankings": "`uri` and `columns` with `query` and `positive`, or `queries`, `corpus` and `qrels`",
    "NanoBEIR": "`uri` alone",
}


def load_training_data(spec: FinetuneSpec, places: Places) -> TrainingData:
    """The rows of every train set."""
    data = TrainingData(tuple(load_training_set(source, places) for source in spec.data.train))
    refuse_single_content(data)
    return data


def load_evaluation_data(spec: FinetuneSpec, places: Places) -> dict[str, EvaluationData]:
    """What each evaluator measures on, by the evaluator's name; its type says in which form."""
    loaded: dict[tuple[str, str], EvaluationData] = {}
    by_evaluator = {}
    for evaluator in spec.evaluation.evaluators:
        form = evaluator.data, _FORMS.get(evaluator.type, "Labelled")
        if form not in loaded:
            source = spec.data.eval_set(evaluator.data)
            loaded[form] = _load(source, places, form[1], by_bm25=spec.model.type == "Reranker")
        by_evaluator[evaluator.name] = loaded[form]
    return by_evaluator


def _load(source: EvalSet, places: Places, form: str, *, by_bm25: bool) -> EvaluationData:
    table = source.table
    if form == "NanoBEIR" and source.uri is not None and table is None:
        return load_nano_beir(source, places, by_bm25=by_bm25)
    if form != "Labelled" and source.uri is None:
        return load_judged(source, places)
    ranked = form == "Rankings" and table is not None and table.columns.query is None
    if table is None or ranked or form == "NanoBEIR":
        raise InvalidSpec(
            "WrongEvalSet",
            f"eval set {source.name!r} must have {_WANTED[form]}, as its evaluator wants it",
            "correct the eval set, or take another type of evaluator",
        )
    if form == "Rankings":
        return load_rankings(table, places, source.group_by)
    return load_labelled(table, places, source.group_by)
