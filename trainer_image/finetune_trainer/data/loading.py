"""Second stage: sources become rows to train on and sets to measure on, or an error that says what is wrong.

`fitting` comes once the model is loaded: only then is it known what it can read.
"""

from finetune_api.data import RANKINGS, EvalSet
from finetune_api.spec import FinetuneSpec
from finetune_trainer.data.duplicates import refuse_single_content
from finetune_trainer.data.inputs import EvaluationData, TrainingData
from finetune_trainer.data.judged import load_judged
from finetune_trainer.data.nano_beir import load_nano_beir
from finetune_trainer.data.pairs import load_labelled, load_rankings, load_training_set
from finetune_trainer.places import Places

_FORMS = {**dict.fromkeys(RANKINGS, "Rankings"), "NanoBEIR": "NanoBEIR"}
"""What evaluators measure on; those that are not here measure row by row."""


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
    """The spec's rules have seen to it that the set has this form."""
    if form == "NanoBEIR":
        return load_nano_beir(source, places, by_bm25=by_bm25)
    if (table := source.table) is None:
        return load_judged(source, places)
    if form == "Rankings":
        return load_rankings(table, places, source.group_by)
    return load_labelled(table, places, source.group_by)
