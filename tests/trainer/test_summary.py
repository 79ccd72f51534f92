from finetune_trainer.reporting.summary import build_report, summarise
from tests.trainer.results_builder import a_gated_spec, some_results


def test_the_headline_has_before_after_gain_and_interval() -> None:
    results = some_results()
    primary = build_report(results).measured.primary  # type: ignore[union-attr]
    assert primary.name == "vdr_cosine_ndcg@10"
    assert (primary.dimension, primary.queries, primary.clusters) == (32, 120, 120)
    assert primary.gain is not None
    assert primary.baseline is not None
    assert round(float(primary.tuned) - float(primary.baseline), 3) == round(float(primary.gain), 3)
    assert primary.gain_low is not None
    assert primary.gain_high is not None
    assert float(primary.gain_low) < float(primary.gain) < float(primary.gain_high)
    assert (primary.wins, primary.ties, primary.losses) == (110, 0, 10)


def test_metrics_go_from_the_gated_to_the_rest_each_once() -> None:
    results = some_results()
    names = [m.name for m in summarise(results.run.spec, results.measured, []).metrics]
    assert names[:4] == [
        "vdr_cosine_mrr@10",
        "vdr_cosine_ndcg@10",
        "vdr_cosine_ndcg@10_dim64",
        "vdr_cosine_ndcg@10_dim16",
    ]
    assert len(set(names)) == len(names) <= 64
    assert names[-1].startswith("dev_")


def test_without_a_base_there_is_no_gain() -> None:
    results = some_results(a_gated_spec(compareTo="None", gates=[]), with_base=False)
    report = build_report(results)
    assert report.measured is not None
    assert report.measured.primary.compared_to == "None"
    assert report.measured.primary.gain is None
    assert all(m.baseline is None for m in report.measured.metrics)


def test_a_gate_that_says_no_decides_the_outcome() -> None:
    assert build_report(some_results(tuned=0.8)).outcome == "Succeeded"
    assert build_report(some_results(tuned=0.55)).outcome == "GateFailed"


def test_lineage_names_the_data_that_gates_read() -> None:
    lineage = build_report(some_results()).lineage
    assert lineage is not None
    assert (lineage.model, lineage.train_data, lineage.eval_data) == (
        "sha256:base",
        "sha256:train",
        "sha256:test",
    )
    assert lineage.versions["torch"]
    both = a_gated_spec(gates=[{"evaluator": e, "minimum": "0"} for e in ("dev", "vdr")])
    of_both = build_report(some_results(both)).lineage
    assert of_both is not None
    assert of_both.eval_data not in {"sha256:test", "sha256:dev"}
