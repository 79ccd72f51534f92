"""Before anything is trained: whether every evaluator can measure its set, in the form that it needs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from typing_extensions import override

from finetune_api.evaluation import Evaluator, MetricReference
from finetune_api.spec import FinetuneSpec
from finetune_trainer.data.inputs import Collection, EvaluationData, Input, LabelledData, RetrievalData
from finetune_trainer.data.labels import LabelForm, require_labels
from finetune_trainer.errors import InvalidData, InvalidSpec
from finetune_trainer.evaluation.candidates import candidates_of
from finetune_trainer.evaluation.ranking import part_of

_PAIR = ("two inputs (`columns.inputs`)", lambda n: n == 2)
_COLUMNS: dict[str, tuple[str, Callable[[int], bool]]] = {
    "Triplet": ("`query`, `positive` and at least one of `negatives`", lambda n: n >= 3),
    "MSE": ("one input (`columns.inputs`)", lambda n: n == 1),
    "Distillation": ("a query and its documents", lambda n: n >= 2),
}
_SEVERAL_CLASSES = ("f1_macro", "f1_micro", "f1_weighted")


@dataclass(frozen=True)
class Facts:
    """What must be known of the model. dimensions: of its vectors; classes: of a reranker's output."""

    dimensions: int
    classes: int = 1


def fit_evaluators(
    spec: FinetuneSpec, data: Mapping[str, EvaluationData], facts: Facts
) -> dict[str, EvaluationData]:
    """Every evaluator's set as it will be measured.

    Lists of documents become columns, and of NanoBEIR's data sets those that are asked for are left. data: by
    evaluator. Raises InvalidData or InvalidSpec.
    """
    for reference in (spec.evaluation.primary, *spec.evaluation.gates, spec.training.selection):
        if reference is not None:
            _require_metric(spec, reference, facts)
    return {e.name: _fitted(spec, e, data[e.name], facts) for e in spec.evaluation.evaluators}


def _fitted(spec: FinetuneSpec, evaluator: Evaluator, data: EvaluationData, facts: Facts) -> EvaluationData:
    if isinstance(data, RetrievalData):
        if evaluator.type == "Reranking" or spec.model.type == "Reranker":
            candidates_of(data, most=None, with_positives=True)
        return _of_data_sets(data, evaluator)
    unrolled = _unrolled(data)
    _require_columns(unrolled, evaluator)
    _require_labels(unrolled, evaluator, facts)
    if evaluator.type == "ParaphraseMining" and data.groups is not None:
        raise InvalidSpec(
            "GroupsOfTexts",
            f"eval set {data.name!r} must have no `groupBy` for evaluator {evaluator.name!r}: paraphrases are"
            " mined among all texts",
            "leave out `groupBy`",
        )
    return unrolled


def _require_metric(spec: FinetuneSpec, reference: MetricReference, facts: Facts) -> None:
    """A reranker with one output tells pairs apart, one with more tells classes apart."""
    metric = spec.evaluation.metric(reference)
    if spec.evaluation.evaluator(reference.evaluator).type != "Classification":
        return
    if (metric in _SEVERAL_CLASSES) != (facts.classes > 1):
        known = ", ".join(_SEVERAL_CLASSES) if facts.classes > 1 else "average_precision, f1, accuracy, mcc"
        raise InvalidSpec(
            "MetricNotThere",
            f"evaluator {reference.evaluator!r} has no {metric} for a model of {facts.classes} outputs",
            f"take one of {known}",
        )


def _of_data_sets(data: RetrievalData, evaluator: Evaluator) -> RetrievalData:
    """Only those that `dataset_names` asks for: `msmarco` is NanoMSMARCO."""
    asked = evaluator.args.get("dataset_names")
    if asked is None:
        return data
    known = dict.fromkeys(data.groups or ())
    chosen = {group for group in known for name in asked if _is_called(group, name)}
    missing = [name for name in asked if not any(_is_called(group, name) for group in known)]
    if missing:
        raise InvalidSpec(
            "UnknownDataSet",
            f"eval set {data.name!r} has no data set {missing[0]!r}, found {', '.join(known)}",
            "correct `args.dataset_names`",
        )
    places = [p for p, group in enumerate(data.groups or ()) if group in chosen]
    queries = part_of(data.queries, places)
    return replace(
        data,
        queries=queries,
        relevant={q: data.relevant[q] for q in queries.ids},
        groups=tuple((data.groups or ())[p] for p in places),
    )


def _is_called(group: str, name: str) -> bool:
    return group.lower().removeprefix("nano") == name.lower().removeprefix("nano")


def _require_columns(data: LabelledData, evaluator: Evaluator) -> None:
    wanted, fits = _COLUMNS.get(evaluator.type, _PAIR)
    if not fits(len(data.inputs)):
        raise InvalidData(
            "WrongColumns",
            f"eval set {data.name!r} must have {wanted} for a {evaluator.type}, found"
            f" {len(data.inputs)} input columns",
            "correct `columns`, or take another type of evaluator",
        )


def _require_labels(data: LabelledData, evaluator: Evaluator, facts: Facts) -> None:
    form = _label_form(data, evaluator, facts)
    if form is None:
        return
    require_labels(data, form, documents=[len(data.inputs) - 1] * len(data))
    labels = data.labels or ()
    if form.kind != "Numbers" and evaluator.type != "ParaphraseMining" and len(set(labels)) < 2:
        raise InvalidData(
            "ConstantLabel",
            f"eval set {data.name!r} must have different labels for a {evaluator.type}, found"
            f" {labels[0]} in all {len(labels)} rows",
            "add rows with other labels",
        )
    if form.kind == "Class" and max(labels) >= facts.classes:
        raise InvalidData(
            "BadLabel",
            f"labels of eval set {data.name!r} must be below {facts.classes}, the number of outputs that the"
            f" model has, found {max(labels)}",
            "correct the labels, or give the model an output for each class",
        )


def _label_form(data: LabelledData, evaluator: Evaluator, facts: Facts) -> LabelForm | None:
    """What labels must be; None where there need be none."""
    scores = LabelForm("Number") if len(data.inputs) == 2 else LabelForm("Numbers", length="documents")
    forms = {
        "EmbeddingSimilarity": LabelForm("Number"),
        "Correlation": LabelForm("Number"),
        "BinaryClassification": LabelForm("Binary"),
        "Classification": LabelForm("Binary" if facts.classes == 1 else "Class"),
        "MSE": LabelForm("Numbers", length=facts.dimensions),
        "Distillation": scores,
    }
    if evaluator.type == "ParaphraseMining" and data.labels is not None:
        return LabelForm("Binary")
    return forms.get(evaluator.type)


def _unrolled(data: LabelledData) -> LabelledData:
    """A column of lists as one column for each place of the list."""
    columns = [column for items in data.inputs for column in _columns(data, items)]
    return data if len(columns) == len(data.inputs) else replace(data, inputs=tuple(columns))


def _columns(data: LabelledData, items: Collection) -> list[Collection]:
    lengths = _lengths(items)
    if not lengths:
        return [items]
    if len(set(lengths)) > 1:
        raise InvalidData(
            "RaggedLists",
            f"eval set {data.name!r} must have lists of one length, found {min(lengths)} to {max(lengths)}",
            "cut the lists to one length",
        )
    return [
        Collection(items.ids, _Nth(items.inputs, n), tuple(f"{key}/{n}" for key in items.keys))
        for n in range(lengths[0])
    ]


def _lengths(items: Collection) -> list[int]:
    """Of lists; none for single inputs, of which only the first is looked at."""
    first = items.inputs[0:1][0]
    return [len(cell) for cell in items.inputs] if isinstance(first, list) else []


class _Nth(Sequence[Input]):
    """One place of every list."""

    def __init__(self, lists: Sequence[Any], place: int) -> None:
        self._lists, self._place = lists, place

    @override
    def __len__(self) -> int:
        return len(self._lists)

    @override
    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [cell[self._place] for cell in self._lists[index]]
        return self._lists[index][self._place]
