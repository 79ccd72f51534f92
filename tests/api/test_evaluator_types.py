"""The tables of evaluator types: metrics, models, names and arguments."""

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_api.evaluator_args import taken_arguments, wrong_argument
from finetune_api.evaluator_types import (
    SIMILARITIES,
    TYPES,
    EvaluatorType,
    NameParts,
    has_metric,
    metric_name,
    name_parts,
    wrong_metric,
)
from tests.api.specs import a_spec, refusal


def test_every_type_has_its_facts_and_its_headline() -> None:
    assert set(TYPES) == set(get_args(EvaluatorType))
    assert all(has_metric(t, facts.headline) for t, facts in TYPES.items())


@pytest.mark.parametrize(
    ("type_", "metric", "meant"),
    [
        ("InformationRetrieval", "ndgc@5", "did you mean ndcg@5?"),
        ("InformationRetrieval", "ndcg", "did you mean ndcg@10?"),
        ("BinaryClassification", "average_precision", "ap, f1, precision"),
        ("Classification", "f1macro", "did you mean f1_macro?"),
        ("Triplet", "accuracy@1", "found 'accuracy@1'; did you mean accuracy?"),
    ],
)
def test_an_unknown_metric_is_told_what_was_meant(type_: str, metric: str, meant: str) -> None:
    assert not has_metric(type_, metric)
    assert meant in wrong_metric(type_, metric)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"evaluation.primary.metric": "mpa@10"}, "evaluator 'test', InformationRetrieval has accuracy@<k>"),
        ({"evaluation.primary.metric": "mpa@10"}, "did you mean map@10?"),
        (
            {"training": {"selection": {"evaluator": "dev", "metric": "accuracy"}}},
            "did you mean accuracy@10?",
        ),
        (
            {"evaluation.evaluators.1.type": "Classification"},
            "Embedding models can have InformationRetrieval, NanoBEIR, Reranking",
        ),
        (
            {"evaluation.evaluators.0.args": {"ndgc_at_k": [1]}},
            "evaluator 'dev': `args.ndgc_at_k` must be left",
        ),
    ],
)
def test_a_spec_that_is_refused_says_what_would_do(changes: dict[str, Any], said: str) -> None:
    assert said in (refusal(a_spec(changes)) or "accepted")


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        (("vdr", "cosine", "ndcg@10", None, None), "vdr_cosine_ndcg@10"),
        (("vdr", "", "ndcg@10", None, None), "vdr_ndcg@10"),
        (("vdr", "cosine", "ndcg@10", 64, None), "vdr_cosine_ndcg@10_dim64"),
        (("a-b", "maxsim", "map", None, "d_e]"), "a-b_maxsim_map[d_e]]"),
        (("tatoeba", "", "src2trg_accuracy", 64, "de"), "tatoeba_src2trg_accuracy_dim64[de]"),
    ],
)
def test_a_name_tells_evaluator_similarity_metric_dimension_and_group(
    name: tuple[str, str, str, int | None, str | None], parts: str
) -> None:
    evaluator, similarity, metric, dimension, group = name
    assert metric_name(evaluator, similarity, metric, dimension=dimension, group=group) == parts


METRICS = sorted({m + "10" if m.endswith("@") else m for facts in TYPES.values() for m in facts.metrics})


@given(
    st.from_regex(r"[a-z]([-a-z0-9]{0,8}[a-z0-9])?", fullmatch=True),
    st.sampled_from(["", *SIMILARITIES]),
    st.sampled_from(METRICS),
    st.none() | st.integers(1, 65_536),
    st.none() | st.text(min_size=1, max_size=8),
)
def test_a_name_can_be_taken_apart_again(
    evaluator: str, similarity: str, metric: str, dimension: int | None, group: str | None
) -> None:
    name = metric_name(evaluator, similarity, metric, dimension=dimension, group=group)
    assert name_parts(name) == NameParts(evaluator, similarity, metric, dimension, group)


@pytest.mark.parametrize(
    ("type_", "model", "args", "said"),
    [
        ("Triplet", "Embedding", {"margin": 0.1}, None),
        ("Triplet", "Embedding", {"margin": "0.1"}, "`args.margin` must be a number, found '0.1'"),
        ("Triplet", "Embedding", {"max_active_dims": 5}, "no argument of Triplet"),
        ("Triplet", "Sparse", {"max_active_dims": 5, "margin": 1}, None),
        ("Reranking", "Embedding", {"always_rerank_positives": False}, "takes at_k"),
        ("Reranking", "Reranker", {"always_rerank_positives": False}, None),
        ("NanoBEIR", "Reranker", {"rerank_k": 0}, "from 1 to 999, found 0"),
        ("MSE", "Embedding", {"teacher_model": "x"}, "the labels of the eval set"),
        ("MSE", "Embedding", {"x": 1}, "no argument of MSE here, which takes none"),
        ("InformationRetrieval", "Embedding", {"truncate_dim": 3}, "it repeats `model.truncateDim`"),
        ("InformationRetrieval", "Embedding", {"ndcg_at_k": [5, True]}, "a list of whole numbers"),
    ],
)
def test_arguments_are_taken_or_told_why_not(
    type_: str, model: str, args: dict[str, Any], said: str | None
) -> None:
    found = wrong_argument(type_, model, args)
    assert found is None if said is None else said in (found or "taken")
    assert set(args) <= set(taken_arguments(type_, model)) or found is not None
