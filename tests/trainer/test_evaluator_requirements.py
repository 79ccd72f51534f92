"""Sets that an evaluator cannot measure are refused before anything is trained."""

from typing import Any

import pytest

from finetune_api.spec import FinetuneSpec
from finetune_trainer.data.inputs import Collection, EvaluationData, LabelledData, RetrievalData
from finetune_trainer.errors import TrainerError
from finetune_trainer.evaluation.requirements import Facts, fit_evaluators

IDS = ("r0", "r1", "r2")


def a_spec(type_: str, model: str = "Embedding", **evaluator: Any) -> FinetuneSpec:
    table = {"uri": "pvc://data/rows", "columns": {"inputs": ["a", "b"]}}
    columns = {"Reranking": {"columns": {"query": "a", "positive": "b"}}, "NanoBEIR": {}}
    measured = {"uri": "pvc://data/rows", **columns.get(type_, {"columns": table["columns"]})}
    return FinetuneSpec.model_validate(
        {
            "model": {"uri": "pvc://models/base", "type": model},
            "data": {"train": [{"name": "train", **table}], "eval": [{"name": "rows", **measured}]},
            "evaluation": {
                "evaluators": [{"name": "e", "type": type_, "data": "rows", **evaluator}],
                "primary": {"evaluator": "e"},
            },
        }
    )


def rows(*columns: list[Any], labels: list[Any] | None = None, **parts: Any) -> LabelledData:
    collections = tuple(Collection(IDS, c, tuple(map(str, c))) for c in columns)
    return LabelledData("rows", collections, None if labels is None else tuple(labels), "sha256:0", **parts)


def fitted(spec: FinetuneSpec, data: EvaluationData, **facts: int) -> EvaluationData:
    return fit_evaluators(spec, {"e": data}, Facts(**{"dimensions": 2, **facts}))["e"]


TWO: tuple[list[str], list[str]] = (["a", "b", "c"], ["d", "e", "f"])
ONE: tuple[list[str]] = (["a", "b", "c"],)
VECTORS = [[0.0, 1.0]] * 3

REFUSED: dict[str, tuple[FinetuneSpec, LabelledData, str]] = {
    "a triplet of two": (a_spec("Triplet"), rows(*TWO), "at least one of `negatives`"),
    "a pair of one": (a_spec("Translation"), rows(*ONE), "must have two inputs"),
    "a teacher of two inputs": (a_spec("MSE"), rows(*TWO, labels=VECTORS), "must have one input"),
    "no scores": (a_spec("EmbeddingSimilarity"), rows(*TWO), "must have labels"),
    "constant scores": (a_spec("EmbeddingSimilarity"), rows(*TWO, labels=[1.0] * 3), "different labels"),
    "a third class of two": (a_spec("BinaryClassification"), rows(*TWO, labels=[0, 1, 2]), "must be 0 or 1"),
    "no pair that belongs together": (
        a_spec("BinaryClassification"),
        rows(*TWO, labels=[0, 0, 0]),
        "must have different labels",
    ),
    "a teacher of other dimensions": (a_spec("MSE"), rows(*ONE, labels=[[0.0]] * 3), "a list of 2 numbers"),
    "scores for fewer documents than there are": (
        a_spec("Distillation", "MultiVector"),
        rows(*TWO, ["g", "h", "i"], labels=[[1.0]] * 3),
        "a list of 2 numbers",
    ),
    "more classes than outputs": (
        a_spec("Classification", "Reranker"),
        rows(*TWO, labels=[0, 1, 2]),
        "must be 0 or 1",
    ),
    "groups among all texts": (
        a_spec("ParaphraseMining"),
        rows(*TWO, groups=("x", "x", "y")),
        "must have no `groupBy`",
    ),
    "lists of different lengths": (
        a_spec("Distillation", "MultiVector"),
        rows(ONE[0], [["a"], ["a", "b"], ["c"]], labels=[[1.0]] * 3),
        "lists of one length, found 1 to 2",
    ),
}


@pytest.mark.parametrize(("spec", "data", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_measured_is_told(spec: FinetuneSpec, data: LabelledData, said: str) -> None:
    with pytest.raises(TrainerError) as caught:
        fitted(spec, data)
    assert said in caught.value.message
    assert caught.value.hint


def test_a_metric_must_fit_the_outputs_of_a_reranker() -> None:
    data = rows(*TWO, labels=[0, 1, 2])
    with pytest.raises(TrainerError, match="has no average_precision for a model of 3 outputs"):
        fitted(a_spec("Classification", "Reranker"), data, classes=3)
    several = a_spec("Classification", "Reranker").to_dict()
    several["evaluation"]["primary"]["metric"] = "f1_macro"
    assert fitted(FinetuneSpec.model_validate(several), data, classes=3) == data
    with pytest.raises(TrainerError, match="must be below 2"):
        fitted(FinetuneSpec.model_validate(several), data, classes=2)
    with pytest.raises(TrainerError, match="has no f1_macro for a model of 1 outputs"):
        fitted(FinetuneSpec.model_validate(several), data)


def test_lists_of_documents_become_columns() -> None:
    data = rows(ONE[0], [["a", "b"], ["c", "d"], ["e", "f"]], labels=[[1.0, 0.0]] * 3)
    found = fitted(a_spec("Distillation", "MultiVector"), data)
    assert isinstance(found, LabelledData)
    assert [list(c.inputs) for c in found.inputs[1:]] == [["a", "c", "e"], ["b", "d", "f"]]
    assert found.inputs[2].inputs[1:3] == ["d", "f"]


def a_suite() -> RetrievalData:
    return RetrievalData(
        name="nano",
        queries=Collection(("NanoNQ/1", "NanoMSMARCO/1"), ["one", "two"]),
        corpus=Collection(("NanoNQ/a", "NanoMSMARCO/a"), ["a", "b"]),
        relevant={"NanoNQ/1": frozenset({"NanoNQ/a"}), "NanoMSMARCO/1": frozenset({"NanoMSMARCO/a"})},
        unjudged_queries=0,
        digest="sha256:0",
        groups=("NanoNQ", "NanoMSMARCO"),
    )


def test_only_the_data_sets_that_are_asked_for_are_measured() -> None:
    found = fitted(a_spec("NanoBEIR", args={"dataset_names": ["msmarco"]}), a_suite())
    assert isinstance(found, RetrievalData)
    assert (found.queries.ids, found.groups) == (("NanoMSMARCO/1",), ("NanoMSMARCO",))
    assert list(found.queries.inputs) == ["two"]
    with pytest.raises(TrainerError, match="no data set 'fever', found NanoNQ, NanoMSMARCO"):
        fitted(a_spec("NanoBEIR", args={"dataset_names": ["fever"]}), a_suite())


def test_reranking_needs_candidates() -> None:
    with pytest.raises(TrainerError, match="which documents are candidates"):
        fitted(a_spec("Reranking", "Reranker"), a_suite())
