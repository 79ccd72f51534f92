"""What the full report says of groups, rows, rankings before and after, and models without dimensions."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from finetune_api.pod_settings import PodSettings
from finetune_api.report import MAX_REPORT_BYTES
from finetune_api.runtime import Runtime
from finetune_trainer.comparison.breakdown import build_examples
from finetune_trainer.comparison.measurement import Measurement, judge_gates
from finetune_trainer.data.inputs import Collection, LabelledData, RetrievalData
from finetune_trainer.evaluation import EvaluatorResult, Ranking, Scores
from finetune_trainer.evaluation.measures import Correlation, Decisions, Mean, Measure
from finetune_trainer.reporting.full_report import build_full_report, to_bytes
from finetune_trainer.reporting.results import Results
from finetune_trainer.reporting.summary import build_report
from tests.trainer.results_builder import a_gated_spec, some_results

RANDOM = np.random.default_rng(2)
ROWS = 150
LABELS = RANDOM.normal(size=ROWS)


def of_rows(type_: str, measures: dict[str, tuple[Measure, Measure]], **parts: Any) -> Results:
    """Results of a reranker, measured by one evaluator; measures: of base and tuned model."""
    spec = a_gated_spec(gates=[{"evaluator": "vdr", "minimumGain": "0"}]).to_dict()
    spec["evaluation"]["evaluators"] = [{"name": "vdr", "type": type_, "data": "test"}]
    spec |= {"model": {"uri": "pvc://models/base", "type": "Reranker"}, "loss": {}}
    results = some_results()
    spec_ = type(results.run.spec).model_validate(spec)
    ids = tuple(f"r{n}" for n in range(ROWS))
    texts = Collection(ids, ["secret text"] * ROWS, tuple(f"k{n}" for n in range(ROWS)))
    data = LabelledData("test", (texts, texts), tuple(LABELS.tolist()), "sha256:t", **parts)
    found = [
        EvaluatorResult({None: Scores("vdr", None, ROWS, {m: both[n] for m, both in measures.items()})}, None)
        for n in (0, 1)
    ]
    one = Measurement(spec_.evaluation.evaluators[0], data, found[0], found[1])
    run = results.run.model_copy(update={"spec": spec_})
    return replace(results, run=run, measured=[one], gates=judge_gates(spec_, [one]))


def correlation(noise: float, *, of_ranks: bool) -> Correlation:
    seen = LABELS + noise * np.random.default_rng(3).normal(size=ROWS)
    return Correlation(seen, LABELS, of_ranks)


def correlations() -> dict[str, tuple[Measure, Measure]]:
    kinds = {"spearman": True, "pearson": False}
    return {
        name: (correlation(2, of_ranks=ranks), correlation(1, of_ranks=ranks))
        for name, ranks in kinds.items()
    }


def test_a_correlation_has_an_interval_and_no_winners() -> None:
    results = of_rows("Correlation", correlations(), groups=("short",) * 100 + ("long",) * 50)
    report = build_report(results)
    assert report.measured is not None
    primary = report.measured.primary
    assert (primary.name, primary.dimension, primary.queries, primary.rows) == (
        "vdr_spearman",
        None,
        None,
        ROWS,
    )
    assert (primary.wins, primary.ties, primary.losses) == (None, None, None)
    assert primary.gain_low is not None
    assert float(primary.gain_low) > 0
    assert report.outcome == "Succeeded"
    names = [m.name for m in report.measured.metrics]
    assert names == ["vdr_spearman", "vdr_spearman[long]", "vdr_spearman[short]", "vdr_pearson"]
    assert len(report.to_json().encode()) <= MAX_REPORT_BYTES

    full = json.loads(to_bytes(build_full_report(results, report)))["evaluators"]["vdr"]
    assert (full["unit"], full["data"]["rows"], full["dimension"]) == ("rows", ROWS, None)
    assert full["dimensions"][""]["spearman"]["interval"]["draws"] == 10_000
    assert (full["groups"]["short"]["rows"], full["groups"]["long"]["clusters"]) == (100, 50)
    assert full["groups"]["long"]["metrics"]["spearman"]["interval"]["clusters"] == 50
    assert full["rows"]["tuned"] is None
    assert full["examples"] == {"best": [], "worst": [], "worstBefore": [], "worstAfter": []}


def test_rows_are_shown_by_id_where_each_has_the_metric() -> None:
    base, tuned = np.zeros(ROWS), np.ones(ROWS)
    base[:2], tuned[:3] = 1, 0
    one = of_rows("Correlation", correlations()).primary
    mean: dict[str, Measure] = {"spearman": Mean(base)}
    after: dict[str, Measure] = {"spearman": Mean(tuned)}
    one = replace(
        one,
        base=EvaluatorResult({None: Scores("vdr", None, ROWS, mean)}, None),
        tuned=EvaluatorResult({None: Scores("vdr", None, ROWS, after)}, None),
    )
    examples = build_examples(one, "spearman")
    assert examples["worst"] == [
        {"row": "r0", "tuned": 0.0, "baseline": 1.0},
        {"row": "r1", "tuned": 0.0, "baseline": 1.0},
    ]
    assert [e["row"] for e in examples["worstAfter"]] == ["r0", "r1", "r2"]


def test_a_ranking_shows_where_relevant_documents_stood_before_and_after() -> None:
    results = some_results()
    one = results.primary
    assert isinstance(one.data, RetrievalData)
    assert one.base is not None
    ranks = {query: {} if query == "q0" else {"d1": 7} for query in one.data.queries.ids}
    found = dict.fromkeys(one.data.queries.ids, ("d5", "d1"))
    moved = replace(one, base=replace(one.base, ranking=Ranking(dict(found), ranks, 100)))
    examples = build_examples(moved, "ndcg@10")
    lost = next(e for e in examples["worst"] if e["query"] == "q0")
    assert (lost["ranksByBase"], lost["ranksByTuned"]) == ({}, {"d0": 1})
    assert lost["foundByBase"] == ["d5", "d1"]
    assert lost["baseline"] > lost["tuned"]
    before = [e["baseline"] for e in examples["worstBefore"]]
    assert before == sorted(before)
    assert len(before) == 5


def test_numbers_that_are_none_are_null() -> None:
    undefined: dict[str, tuple[Measure, Measure]] = {
        "average_precision": (
            Decisions(LABELS, np.zeros(ROWS), "ap"),
            Decisions(LABELS, np.zeros(ROWS), "ap"),
        )
    }
    results = of_rows("Classification", undefined)
    full = build_full_report(results, build_report(of_rows("Correlation", correlations())))
    numbers = json.loads(to_bytes(full))["evaluators"]["vdr"]["dimensions"][""]["average_precision"]
    assert numbers == {"tuned": None, "baseline": None, "gain": None}
    assert [g.passed for g in results.gates] == [False]


@pytest.mark.parametrize("groups", [None, ("a",) * 75 + ("b",) * 75])
def test_texts_of_the_data_are_nowhere(groups: Any) -> None:
    results = of_rows("Correlation", correlations(), groups=groups)
    assert b"secret" not in to_bytes(build_full_report(results, build_report(results)))


def test_what_a_pod_had_of_its_cluster_is_nowhere() -> None:
    proxy = {"name": "HTTPS_PROXY", "value": "http://user:word@proxy.internal"}
    spec = a_gated_spec().model_copy(
        update={"runtime": Runtime(pod=PodSettings.model_validate({"env": [proxy]}))}
    )
    results = some_results(spec)
    full = to_bytes(build_full_report(results, build_report(results)))
    assert b"proxy.internal" not in full
    assert json.loads(full)["spec"]["runtime"]["gpusPerNode"] == 1
