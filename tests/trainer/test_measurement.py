from dataclasses import replace

import pytest

from finetune_trainer.errors import InvalidData
from finetune_trainer.evaluation.retrieval_metrics import STANDARD_METRICS
from finetune_trainer.measurement import check_gates, deciding_metrics, wanted_dimensions, wanted_metrics
from finetune_trainer.results import measurement_notes
from tests.trainer.results_builder import a_gated_spec, evaluation_data, some_results


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
