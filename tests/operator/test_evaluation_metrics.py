"""What /metrics says of evaluations, and that however much there is it says little."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune_api.evaluator_types import metric_name
from finetune_api.status import FinetuneStatus, Progress
from finetune_operator.metrics.finetunes import FAMILIES, MAX_SERIES
from tests.operator.scraped import KEY, LIVE, OF, ON_PRIMARY, PRIMARY, RUN, STATUS, Scrape, a_finetune


@pytest.mark.parametrize(
    ("name", "evaluator", "metric"),
    [("rank_ndcg@10", "rank", "ndcg@10"), ("de-en_src2trg_accuracy", "de-en", "src2trg_accuracy")],
)
def test_the_labels_of_a_score_are_the_words_of_the_spec(name: str, evaluator: str, metric: str) -> None:
    scrape = Scrape(a_finetune(evaluation={"primary": {**PRIMARY, "name": name}}))
    assert scrape.value("evaluation_gain", **OF, evaluator=evaluator, metric=metric) == 0.09


def test_a_model_compared_with_the_published_one_has_three_scores() -> None:
    primary = {**PRIMARY, "comparedTo": "Published", "base": "0.5"}
    scrape, models = Scrape(a_finetune(evaluation={"primary": primary})), ("base", "published", "tuned")
    scores = {model: scrape.value("evaluation_score", **ON_PRIMARY, model=model) for model in models}
    assert scores == {"base": 0.5, "published": 0.63, "tuned": 0.72}


def test_further_evaluators_are_shown_at_the_headlines_dimension_and_over_all_data() -> None:
    names = (
        "dev_cosine_ndcg@10",
        "test_cosine_ndcg@10",
        "test_cosine_ndcg@10_dim64",
        "test_cosine_ndcg@10[de]",
    )
    metrics = [{"name": name, "baseline": "0.1", "tuned": f"0.{i}"} for i, name in enumerate(names, 2)]
    scrape = Scrape(a_finetune(evaluation={"primary": PRIMARY, "metrics": metrics}))
    assert len(scrape.labels("evaluation_score")) == 4
    on_test = {**OF, "evaluator": "test", "metric": "ndcg@10"}
    assert scrape.value("evaluation_score", **on_test, model="tuned") == 0.3
    assert scrape.value("evaluation_score", **on_test, model="base") == 0.1


def test_gates_on_one_metric_are_one_series_that_holds_when_all_do() -> None:
    gate = {"evaluator": "dev", "metric": "ndcg@10", "message": ""}
    gates = [{**gate, "passed": True}, {**gate, "passed": False}, {**gate, "passed": True, "group": "de"}]
    scrape = Scrape(a_finetune(evaluation={"primary": PRIMARY, "gates": gates}))
    assert scrape.value("gate_passed", **ON_PRIMARY, group="") == 0
    assert scrape.value("gate_passed", **ON_PRIMARY, group="de") == 1


def a_full_status() -> dict[str, Any]:
    """As much as the contract allows."""
    condition = STATUS["conditions"][0]
    types = ("Ready", "Reconciling", "Stalled", "Suspended", "GatePassed", "Published", "Strange", "Stranger")
    gate = {"metric": "ndcg@10", "passed": True, "message": ""}
    past = {"number": 1, "specHash": "", "outcome": "Published", "reason": "Published"}
    return {
        **STATUS,
        "conditions": [{**condition, "type": type_} for type_ in types],
        "run": {**RUN, "number": 2, "attempt": 3, "checkpointTime": "2026-01-01T00:00:00Z"},
        "artifact": {"uri": "s3://m/1", "digest": "sha256:0", "run": 1, "report": "s3://m/1/r"},
        "history": [{**past, "completionTime": "2026-01-01T00:00:00Z"}],
        "evaluation": {
            "primary": {**PRIMARY, "comparedTo": "Published", "base": "0.5"},
            "gates": [{**gate, "evaluator": f"e{i}", "group": f"g{i}"} for i in range(16)],
            "metrics": [
                {"name": f"e{i}_cosine_ndcg@10", "tuned": "0.5", "baseline": "0.4"} for i in range(64)
            ],
        },
    }


def test_whatever_a_spec_and_a_status_hold_a_finetune_has_few_series() -> None:
    status = a_full_status()
    FinetuneStatus.model_validate(status)
    progress = Progress(percent=1, loss="1", samples_per_second="2", remaining_seconds=3)
    scrape = Scrape(a_finetune(**status))
    scrape.memory.report(KEY, "u1", 2, replace(LIVE, progress=progress))
    found = scrape.of()
    assert 35 < len(found) <= MAX_SERIES
    only_at_the_end = "embedding_finetune_completion_timestamp_seconds"
    assert {name for name, _ in found} == {family.name for family in FAMILIES} - {only_at_the_end}


WORDS = st.sampled_from(["a", "b", "c"])
GROUPS = st.none() | st.text(max_size=5)
NAMES = st.builds(
    metric_name, WORDS, st.sampled_from(["", "cosine", "dot"]), st.sampled_from(["ndcg@10", "mean_accuracy"]),
    dimension=st.none() | st.integers(1, 99), group=GROUPS,
)  # fmt: skip
METRICS = st.builds(lambda name: {"name": name, "tuned": "0.5", "baseline": "0.4"}, NAMES)
GATES = st.builds(
    lambda evaluator, group, passed: {
        "evaluator": evaluator, "metric": "ndcg@10", "group": group, "passed": passed, "message": "",
    },
    WORDS, GROUPS, st.booleans(),
)  # fmt: skip


@given(NAMES, st.lists(METRICS, max_size=64), st.lists(GATES, max_size=16))
def test_no_evaluation_makes_a_series_twice_or_too_many(
    primary: str, metrics: list[dict[str, Any]], gates: list[dict[str, Any]]
) -> None:
    evaluation = {"primary": {**PRIMARY, "name": primary}, "metrics": metrics, "gates": gates}
    found = [
        (name, *sorted(labels.items())) for name, labels in Scrape(a_finetune(evaluation=evaluation)).of()
    ]
    assert len(found) == len(set(found)) <= MAX_SERIES
    assert any(name == "embedding_finetune_evaluation_gain" for name, *_ in found)


def test_a_running_finetune_with_one_gate_has_at_most_thirty_series() -> None:
    gates = [{"evaluator": "dev", "metric": "ndcg@10", "passed": True, "message": ""}]
    scrape = Scrape(a_finetune(evaluation={"primary": PRIMARY, "gates": gates}))
    scrape.memory.report(KEY, "u1", 1, LIVE)
    assert len(scrape.of()) <= 30
