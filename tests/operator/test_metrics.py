"""What /metrics says of finetunes, and that it forgets what is deleted."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from finetune_api.status import FinetuneStatus, Progress
from finetune_operator.decisions.observed import LiveProgress
from finetune_operator.memory import Key, Known, Memory
from finetune_operator.metrics import OperatorMetrics, exposition, finetunes
from finetune_operator.metrics.finetunes import FAMILIES, MAX_SERIES, Sample

STATUS: dict[str, Any] = {
    "observedGeneration": 1,
    "phase": "Training",
    "conditions": [
        {
            "type": type_, "status": "Unknown", "reason": reason, "lastTransitionTime": "",
            "observedGeneration": 1,
        }
        for type_, reason in (("Ready", "Running"), ("GatePassed", "NotDecided"))
    ],
    "run": {"number": 1, "specHash": "v1:0", "job": "one-1", "startTime": "2026-01-01T00:00:00Z"},
    "progress": {"percent": 40, "loss": "0.5"},
    "evaluation": {
        "primary": {
            "name": "dev_cosine_ndcg@10", "baseline": "0.63", "tuned": "0.72", "comparedTo": "Base",
            "gain": "0.09", "gainLow": "0.05", "gainHigh": "0.13", "clusters": 200,
        }
    },
}  # fmt: skip
RUN = STATUS["run"]
PRIMARY: dict[str, Any] = STATUS["evaluation"]["primary"]
KEY = Key("team", "one")
OF = {"namespace": "team", "embeddingfinetune": "one"}
ON_PRIMARY = {**OF, "evaluator": "dev", "metric": "ndcg@10"}
THEN = datetime(2026, 1, 1, 1, tzinfo=UTC)
LIVE = LiveProgress("Training", Progress(percent=55), THEN, "pod", THEN)
versions = count(1)


def a_finetune(uid: str = "u1", name: str = "one", **status: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "namespace": "team", "name": name, "uid": uid, "resourceVersion": str(next(versions)),
            "creationTimestamp": "2025-12-31T23:59:00Z",
        },
        "spec": {
            "model": {"uri": "hf://owner/model@0", "type": "Sparse"},
            "loss": {"name": "SomeLoss"},
            "runtime": {"gpusPerNode": 1, "gpuResourceName": "amd.com/gpu"},
        },
        "status": {**STATUS, **status},
    }  # fmt: skip


class Scrape:
    """/metrics of an operator that knows these finetunes."""

    def __init__(self, *finetunes: dict[str, Any], per_resource: bool = True) -> None:
        self.memory = Memory()
        for finetune in finetunes:
            self.memory.observe(finetune)
        self.metrics = OperatorMetrics(self.memory, lambda: 7, per_resource=per_resource)

    def samples(self) -> Iterator[tuple[str, dict[str, str], float]]:
        for family in text_string_to_metric_families(b"".join(self.metrics.render()).decode()):
            yield from ((s.name, s.labels, s.value) for s in family.samples)

    def value(self, name: str, **labels: str) -> float | None:
        wanted = (f"embedding_finetune_{name}", labels)
        return next((value for name, found, value in self.samples() if (name, found) == wanted), None)

    def of(self, name: str = "one") -> list[tuple[str, dict[str, str]]]:
        """The series of that finetune."""
        return [(n, labels) for n, labels, _ in self.samples() if labels.get("embeddingfinetune") == name]

    def labels(self, name: str) -> list[dict[str, str]]:
        """Of the series of that metric, beyond those that name the finetune."""
        found = [labels for n, labels, _ in self.samples() if n == f"embedding_finetune_{name}"]
        return [{k: v for k, v in labels.items() if k not in OF} for labels in found]


def test_a_finetune_is_shown_with_its_numbers() -> None:
    scrape = Scrape(a_finetune())
    assert scrape.labels("info") == [
        {
            "uid": "u1", "base_model": "hf://owner/model@0", "model_type": "Sparse", "loss": "SomeLoss",
            "gpu_resource": "amd.com/gpu",
        }
    ]  # fmt: skip
    assert scrape.value("status_phase", **OF, phase="Training", reason="Running") == 1
    assert scrape.value("status_condition", **OF, condition="Ready", status="Unknown") == 1
    assert scrape.value("progress_ratio", **OF) == 0.4
    assert scrape.value("training_loss", **OF) == 0.5
    assert scrape.value("created_timestamp_seconds", **OF) == 1767225540
    assert scrape.value("start_timestamp_seconds", **OF) == 1767225600
    assert scrape.value("completion_timestamp_seconds", **OF) is None
    assert scrape.value("evaluation_score", **ON_PRIMARY, model="base") == 0.63
    assert scrape.value("evaluation_score", **ON_PRIMARY, model="tuned") == 0.72
    assert scrape.value("evaluation_gain", **ON_PRIMARY) == 0.09
    assert scrape.value("evaluation_gain_low", **ON_PRIMARY) == 0.05
    assert scrape.value("evaluation_gain_high", **ON_PRIMARY) == 0.13


def test_a_phase_and_a_condition_have_the_one_series_that_says_which() -> None:
    scrape = Scrape(a_finetune())
    assert scrape.labels("status_phase") == [{"phase": "Training", "reason": "Running"}]
    assert scrape.labels("status_condition") == [
        {"condition": "Ready", "status": "Unknown"},
        {"condition": "GatePassed", "status": "Unknown"},
    ]


def test_a_run_is_shown_with_what_it_took() -> None:
    run = {
        **RUN, "number": 3, "attempt": 4, "retries": 1, "interruptions": 2, "activeSeconds": 900,
        "wastedSeconds": 60, "lostSteps": 12, "checkpointTime": "2026-01-01T00:10:00Z",
    }  # fmt: skip
    scrape = Scrape(a_finetune(run=run))
    found = {
        "run_number": 3, "run_attempt": 4, "retries_total": 1, "interruptions_total": 2,
        "active_seconds_total": 900, "gpu_seconds_total": 900, "wasted_gpu_seconds_total": 60,
        "lost_steps_total": 12, "last_checkpoint_timestamp_seconds": 1767226200,
    }  # fmt: skip
    assert {name: scrape.value(name, **OF) for name in found} == found


def test_what_a_run_counts_is_there_before_it_counts_anything() -> None:
    scrape = Scrape(a_finetune())
    for name in ("retries_total", "interruptions_total", "gpu_seconds_total", "lost_steps_total"):
        assert scrape.value(name, **OF) == 0


def test_a_run_without_gpu_takes_no_gpu_seconds() -> None:
    finetune = a_finetune(run={**RUN, "activeSeconds": 900})
    finetune["spec"]["runtime"]["gpusPerNode"] = 0
    scrape = Scrape(finetune)
    assert scrape.value("active_seconds_total", **OF) == 900
    assert scrape.value("gpu_seconds_total", **OF) == 0


def test_a_published_models_age_is_that_of_the_run_that_made_it() -> None:
    artifact: dict[str, Any] = {
        "uri": "s3://m/1",
        "digest": "sha256:0",
        "run": 1,
        "report": "s3://m/1/report.json",
    }
    ended = {**RUN, "completionTime": "2026-01-01T02:00:00Z"}
    assert (
        Scrape(a_finetune(artifact=artifact, run=ended)).value("published_timestamp_seconds", **OF)
        == 1767232800
    )
    past = {"number": 1, "specHash": "", "outcome": "Published", "reason": "Published"}
    later: dict[str, Any] = {"run": {**RUN, "number": 2}, "artifact": artifact}
    known = a_finetune(**later, history=[{**past, "completionTime": "2026-01-01T02:00:00Z"}])
    assert Scrape(known).value("published_timestamp_seconds", **OF) == 1767232800
    assert Scrape(a_finetune(**later)).value("published_timestamp_seconds", **OF) is None


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


def test_a_running_finetune_with_one_gate_has_at_most_thirty_series() -> None:
    gates = [{"evaluator": "dev", "metric": "ndcg@10", "passed": True, "message": ""}]
    scrape = Scrape(a_finetune(evaluation={"primary": PRIMARY, "gates": gates}))
    scrape.memory.report(KEY, "u1", 1, LIVE)
    assert len(scrape.of()) <= 30


def test_live_progress_is_ahead_of_status() -> None:
    scrape = Scrape(a_finetune())
    progress = Progress(percent=55, loss="nan", samples_per_second="31.2", remaining_seconds=600)
    live = replace(LIVE, progress=progress, checkpoint_at=THEN + timedelta(minutes=1))
    assert scrape.value("progress_ratio", **OF) == 0.4
    assert scrape.memory.report(KEY, "u1", 1, live)
    assert scrape.value("progress_ratio", **OF) == 0.55
    assert scrape.value("samples_per_second", **OF) == 31.2
    assert scrape.value("training_remaining_seconds", **OF) == 600
    assert scrape.value("last_progress_timestamp_seconds", **OF) == THEN.timestamp()
    assert scrape.value("last_checkpoint_timestamp_seconds", **OF) == THEN.timestamp() + 60
    assert str(scrape.value("training_loss", **OF)) == "nan"


def test_a_run_that_is_over_shows_what_status_says() -> None:
    scrape = Scrape(a_finetune())
    scrape.memory.report(KEY, "u1", 1, LIVE)
    scrape.memory.observe(a_finetune(run={**RUN, "completionTime": "2026-01-01T00:00:09Z"}))
    assert scrape.value("progress_ratio", **OF) == 0.4
    assert scrape.value("last_progress_timestamp_seconds", **OF) is None
    assert scrape.value("completion_timestamp_seconds", **OF) == 1767225609


def test_a_deleted_finetunes_series_vanish_with_the_next_scrape() -> None:
    scrape = Scrape(a_finetune(), a_finetune(uid="u2", name="two"))
    assert scrape.of()
    scrape.memory.forget(KEY)
    assert not scrape.of()
    assert scrape.of("two")
    scrape.memory.forget(Key("team", "two"))
    assert all("embeddingfinetune" not in labels for _, labels, _ in scrape.samples())


def test_a_finetune_of_the_same_name_shows_nothing_of_the_one_before() -> None:
    scrape = Scrape(a_finetune())
    scrape.memory.report(KEY, "u1", 1, LIVE)
    assert scrape.value("progress_ratio", **OF) == 0.55
    scrape.memory.observe(a_finetune(uid="u2", progress=None, evaluation=None))
    assert [labels["uid"] for labels in scrape.labels("info")] == ["u2"]
    assert scrape.value("progress_ratio", **OF) is None
    assert scrape.labels("evaluation_score") == []


def test_the_text_of_a_finetune_is_made_again_only_when_it_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def samples(known: Known, live: LiveProgress | None) -> Iterator[Sample]:
        made.append(known.uid)
        return finetunes.samples(known, live)

    monkeypatch.setattr(exposition, "samples", samples)
    scrape = Scrape(a_finetune(), a_finetune("u2", "two"))
    scrape.of()
    assert made == ["u1", "u2"]
    scrape.of()
    scrape.memory.report(KEY, "u1", 1, LIVE)
    scrape.of()
    scrape.memory.observe(a_finetune("u2", "two", phase="Failed"))
    scrape.of()
    assert made == ["u1", "u2", "u1", "u2"]


def test_labels_are_written_so_that_no_text_can_break_out() -> None:
    finetune = a_finetune()
    finetune["spec"]["model"]["uri"] = 'pvc://c/a"b\\c\nd'
    (labels,) = Scrape(finetune).labels("info")
    assert labels["base_model"] == 'pvc://c/a"b\\c\nd'


def test_without_series_of_each_finetune_the_sums_remain() -> None:
    scrape = Scrape(a_finetune(), a_finetune("u2", "two", phase="Failed"), per_resource=False)
    assert not scrape.of()
    assert scrape.value("resources", namespace="team", phase="Training") == 1
    assert scrape.value("resources", namespace="team", phase="Failed") == 1
    assert scrape.value("operator_queue_depth") == 7


def test_a_finetune_that_nobody_has_looked_at_is_pending() -> None:
    scrape = Scrape({**a_finetune(), "status": {"observedGeneration": -1}})
    assert scrape.value("resources", namespace="team", phase="Pending") == 1
    assert scrape.labels("status_phase") == []


def test_a_status_that_somebody_broke_does_not_break_the_scrape() -> None:
    broken: dict[str, Any] = {
        "progress": {"percent": 1, "loss": "much"},
        "run": {**RUN, "startTime": "yesterday"},
    }
    scrape = Scrape(a_finetune(**broken, evaluation={"primary": "great"}))
    assert scrape.value("progress_ratio", **OF) == 0.01
    assert scrape.value("training_loss", **OF) is None
    assert scrape.value("start_timestamp_seconds", **OF) is None
    assert scrape.labels("evaluation_score") == []
