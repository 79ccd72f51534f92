from dataclasses import replace

import pytest

from finetune_api.model import Model
from finetune_trainer.comparison.measurement import (
    Measurement,
    check_gates,
    deciding_metrics,
    judge_gates,
    wanted_dimensions,
    wanted_metrics,
)
from finetune_trainer.data.inputs import RetrievalData
from finetune_trainer.errors import InvalidData, InvalidSpec
from finetune_trainer.evaluation.retrieval_metrics import STANDARD_METRICS
from finetune_trainer.reporting.results import Results, measurement_notes
from tests.trainer.results_builder import a_gated_spec, evaluation_data, scores, some_results


def test_what_gates_headline_and_selection_read_is_measured_beside_the_standard() -> None:
    spec = a_gated_spec(gates=[{"evaluator": "vdr", "metric": "recall@50", "minimum": "0"}])
    assert deciding_metrics(spec, "vdr") == ("recall@50", "ndcg@10")
    assert deciding_metrics(spec, "dev") == ()
    assert wanted_metrics(spec, "vdr")[:2] == ("recall@50", "ndcg@10")
    assert set(wanted_metrics(spec, "vdr")) == {"recall@50", *STANDARD_METRICS}


def test_the_headline_dimension_comes_first() -> None:
    spec = a_gated_spec()
    assert wanted_dimensions(spec, 128) == (32, 128, 64, 16)
    full = spec.model_copy(update={"model": spec.model.model_copy(update={"truncate_dim": None})})
    assert wanted_dimensions(full, 64) == (64, 32, 16)


def test_a_gate_on_the_gain_of_a_single_cluster_is_refused_before_training() -> None:
    test = evaluation_data("test", per_document=1000)
    data = {"dev": evaluation_data("dev"), "vdr": test}
    with pytest.raises(InvalidData, match="at least 2 groups"):
        check_gates(a_gated_spec(), data)
    check_gates(a_gated_spec(gates=[{"evaluator": "vdr", "minimum": "0.5"}]), data)
    check_gates(a_gated_spec(), {**data, "vdr": evaluation_data("test")})


def test_gates_are_judged_at_the_headline_dimension() -> None:
    assert [g.passed for g in some_results(tuned=0.8).gates] == [True]
    assert [g.passed for g in some_results(tuned=0.55).gates] == [False]


def test_few_clusters_are_said_to_have_low_power() -> None:
    many, few = some_results(), some_results(per_document=4)
    assert few.primary.clusters == 30
    assert not any("LowPower" in note for note in measurement_notes(many.measured))
    assert any("LowPower: vdr has 30 groups" in note for note in measurement_notes(few.measured))


def test_unjudged_queries_and_the_reach_of_the_interval_are_said() -> None:
    no_gain = a_gated_spec(compareTo="None", gates=[])
    notes = measurement_notes(some_results().measured)
    assert "vdr: 3 queries have no relevant document and were left out" in notes
    assert "the intervals cover the choice of queries, not the training seed" in notes
    assert not any(
        "interval" in note for note in measurement_notes(some_results(no_gain, with_base=False).measured)
    )


def test_an_interval_is_drawn_once() -> None:
    measured = replace(some_results().primary)
    assert measured.interval("ndcg@10", 32) is measured.interval("ndcg@10", 32)


def grouped(results: Results) -> Measurement:
    """The primary measurement with half of its queries in each of two groups."""
    one = results.primary
    assert isinstance(one.data, RetrievalData)
    return replace(one, data=replace(one.data, groups=("de",) * 60 + ("en",) * 60))


def test_a_group_is_measured_by_its_own_queries() -> None:
    one = grouped(some_results())
    assert one.base is not None
    of_all, of_group = (one.value(one.base, "ndcg@10", 32, group) for group in (None, "de"))
    values = one.base.scores.of_units("ndcg@10")
    assert values is not None
    assert (of_all, of_group) == pytest.approx((values.mean(), values[:60].mean()))
    interval = one.interval("ndcg@10", 32, "de")
    assert interval is not None
    assert interval.clusters == one.clusters_of("de") == 60


def test_few_clusters_of_a_group_are_said() -> None:
    said = "LowPower: vdr has below 100 independent queries in groups de (60), en (60)"
    assert said in measurement_notes([grouped(some_results())])


def test_a_gate_can_read_a_group_and_forbid_a_drop() -> None:
    """The first ten queries lose much: group de with them does not hold what en holds."""
    one = grouped(some_results(tuned=0.65))
    verdicts = {}
    for group in ("de", "en"):
        spec = a_gated_spec(gates=[{"evaluator": "vdr", "group": group, "maximumDrop": "0.01"}])
        (verdict,) = judge_gates(spec, [one])
        assert verdict.group == group
        verdicts[group] = verdict.passed
    assert verdicts == {"de": False, "en": True}


def test_a_gate_on_an_unknown_group_says_which_was_meant() -> None:
    data = {"dev": evaluation_data("dev"), "vdr": evaluation_data("test")}
    spec = a_gated_spec(gates=[{"evaluator": "vdr", "group": "deu", "minimum": "0"}])
    with pytest.raises(InvalidSpec, match="it has no `groupBy`"):
        check_gates(spec, data)
    data["vdr"] = replace(data["vdr"], groups=("de",) * 60 + ("en",) * 60)
    with pytest.raises(InvalidSpec, match="'deu', which eval set 'test' does not have") as caught:
        check_gates(spec, data)
    assert caught.value.hint == "did you mean 'de'?"


def test_a_gain_needs_a_baseline() -> None:
    data = {"dev": evaluation_data("dev"), "vdr": evaluation_data("test")}
    with pytest.raises(InvalidSpec, match="there is no baseline"):
        check_gates(a_gated_spec(), data, has_baseline=False)
    check_gates(a_gated_spec(gates=[{"evaluator": "vdr", "minimum": "0"}]), data, has_baseline=False)
    without = some_results(a_gated_spec(), with_base=False)
    assert [g.passed for g in without.gates] == [False]
    assert "there is no baseline to gain over" in without.gates[0].message


def test_the_published_model_is_the_baseline_where_there_is_one() -> None:
    one = some_results().primary
    published = scores(a_gated_spec(), "vdr", mean=0.7)
    beside = replace(one, published=published)
    assert (one.compared_to, beside.compared_to) == ("Base", "Published")
    assert one.baseline_value("ndcg@10", 32) == pytest.approx(0.6 - 0.5 / 32, abs=0.02)
    assert beside.baseline_value("ndcg@10", 32) == pytest.approx(0.7 - 0.5 / 32, abs=0.02)
    narrow = replace(published, by_dimension={16: published.by_dimension[16]}, headline=16)
    of_fewer = replace(one, published=narrow)
    assert of_fewer.interval("ndcg@10", 32) is None
    assert of_fewer.comparison("ndcg@10") is None
    assert any("has no 32 dimensions" in note for note in measurement_notes([of_fewer]))


def test_what_arguments_name_is_measured_too() -> None:
    evaluators = [
        {"name": "dev", "type": "Reranking", "data": "dev", "args": {"at_k": 20}},
        {"name": "vdr", "data": "test", "args": {"precision_recall_at_k": [7], "ndcg_at_k": [5]}},
    ]
    spec = a_gated_spec(evaluators=evaluators)
    assert {"ndcg@20", "mrr@20", "map"} <= set(wanted_metrics(spec, "dev"))
    assert {"precision@7", "recall@7", "ndcg@5"} <= set(wanted_metrics(spec, "vdr"))
    assert "map" not in wanted_metrics(spec, "vdr")


def test_only_embedding_models_have_dimensions_to_choose() -> None:
    sparse = a_gated_spec().model_copy(update={"model": Model(type="Sparse", uri="pvc://models/base")})
    assert wanted_dimensions(sparse, 30_000) == (None,)
