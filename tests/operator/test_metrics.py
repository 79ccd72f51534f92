"""What /metrics says, and that it forgets what is deleted."""

from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import pytest
from prometheus_client.exposition import generate_latest

from finetune_api.report import Report
from finetune_api.status import Progress
from finetune_operator.decisions.observed import LiveProgress, PostedReport
from finetune_operator.memory import Key, Memory
from finetune_operator.metrics import OperatorMetrics

STATUS: dict[str, Any] = {
    "conditions": [{"type": "Ready", "status": "Unknown", "reason": "Running"}],
    "run": {"number": 1, "startTime": "2026-01-01T00:00:00Z"},
    "progress": {"percent": 40, "loss": "0.5"},
    "evaluation": {
        "primary": {
            "name": "dev_cosine_ndcg@10", "baseline": "0.63", "tuned": "0.72",
            "gain": "0.09", "gainLow": "0.05", "gainHigh": "0.13",
        }
    },
}  # fmt: skip
KEY = Key("team", "one")
OF = {"namespace": "team", "embeddingfinetune": "one"}
PRIMARY = {**OF, "evaluator": "dev", "metric": "ndcg@10"}


def a_finetune(uid: str = "u1", resource_version: str = "1", **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "team", "name": "one", "uid": uid, "resourceVersion": resource_version},
        "spec": {"model": {"uri": "hf://owner/model@0"}, "loss": {"name": "SomeLoss"}},
        "status": {**STATUS, **status},
    }


@pytest.fixture
def memory() -> Memory:
    memory = Memory()
    memory.observe(a_finetune())
    return memory


def value(metrics: OperatorMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"embedding_finetune_{name}", labels)


def text(metrics: OperatorMetrics) -> str:
    return generate_latest(metrics.registry).decode()


def test_a_finetune_is_shown_with_its_numbers(memory: Memory) -> None:
    metrics = OperatorMetrics(memory, lambda: 0)
    assert value(metrics, "info", **OF, uid="u1", base_model="hf://owner/model@0", loss="SomeLoss") == 1
    assert value(metrics, "status_condition", **OF, condition="Ready", status="Unknown") == 1
    assert value(metrics, "status_condition", **OF, condition="Ready", status="True") == 0
    assert value(metrics, "status_condition", **OF, condition="Stalled", status="True") is None
    assert value(metrics, "progress_ratio", **OF) == 0.4
    assert value(metrics, "training_loss", **OF) == 0.5
    assert value(metrics, "start_timestamp_seconds", **OF) == 1767225600
    assert value(metrics, "completion_timestamp_seconds", **OF) is None
    assert value(metrics, "evaluation_score", **PRIMARY, model="base") == 0.63
    assert value(metrics, "evaluation_score", **PRIMARY, model="tuned") == 0.72
    assert value(metrics, "evaluation_gain", **PRIMARY) == 0.09
    assert value(metrics, "evaluation_gain_low", **PRIMARY) == 0.05
    assert value(metrics, "evaluation_gain_high", **PRIMARY) == 0.13


@pytest.mark.parametrize(
    ("name", "evaluator", "metric"),
    [("rank_ndcg@10", "rank", "ndcg@10"), ("de-en_src2trg_accuracy", "de-en", "src2trg_accuracy")],
)
def test_the_labels_of_a_score_are_the_words_of_the_spec(name: str, evaluator: str, metric: str) -> None:
    memory = Memory()
    primary = {**STATUS["evaluation"]["primary"], "name": name}
    memory.observe(a_finetune(evaluation={"primary": primary}))
    metrics = OperatorMetrics(memory, lambda: 0)
    assert value(metrics, "evaluation_gain", **OF, evaluator=evaluator, metric=metric) == 0.09


def test_live_progress_is_ahead_of_status(memory: Memory) -> None:
    received = datetime(2026, 1, 1, 1, tzinfo=UTC)
    live = LiveProgress("Training", Progress(percent=55, loss="nan"), received, "pod", received)
    assert memory.report(KEY, "u1", 1, live)
    metrics = OperatorMetrics(memory, lambda: 0)
    assert value(metrics, "progress_ratio", **OF) == 0.55
    assert value(metrics, "last_progress_timestamp_seconds", **OF) == received.timestamp()
    assert str(value(metrics, "training_loss", **OF)) == "nan"


def test_a_run_that_is_over_shows_what_status_says(memory: Memory) -> None:
    now = datetime.now(UTC)
    memory.report(KEY, "u1", 1, LiveProgress("Training", Progress(percent=55), now, "pod", now))
    memory.observe(a_finetune(run={"number": 1, "completionTime": "2026-01-01T00:00:09Z"}))
    metrics = OperatorMetrics(memory, lambda: 0)
    assert value(metrics, "progress_ratio", **OF) == 0.4
    assert value(metrics, "completion_timestamp_seconds", **OF) == 1767225609


def test_a_deleted_finetunes_series_vanish_with_the_next_scrape(memory: Memory) -> None:
    metrics = OperatorMetrics(memory, lambda: 0)
    assert "embeddingfinetune=" in text(metrics)
    memory.forget(KEY)
    assert "embeddingfinetune=" not in text(metrics)


def test_the_operators_own_work_is_counted(memory: Memory) -> None:
    metrics = OperatorMetrics(memory, lambda: 7)
    metrics.count_api_request("get", "200")
    metrics.count_report("403")
    with metrics.counting_result():
        pass
    with pytest.raises(OSError, match="planted"), metrics.counting_result():
        raise OSError("planted")
    assert value(metrics, "operator_api_requests_total", verb="get", code="200") == 1
    assert value(metrics, "operator_status_report_requests_total", code="403") == 1
    assert value(metrics, "operator_reconcile_total", result="success") == 1
    assert value(metrics, "operator_reconcile_total", result="error") == 1
    assert value(metrics, "operator_queue_depth") == 7
    assert value(metrics, "operator_leader") == 0
    assert value(metrics, "operator_build_info", version=version("embedding-finetune-operator")) == 1
    assert "_created" not in text(metrics)


def test_a_status_that_somebody_broke_does_not_break_the_scrape() -> None:
    memory = Memory()
    memory.observe(a_finetune(progress={"percent": 1, "loss": "much"}, run={"startTime": "yesterday"}))
    metrics = OperatorMetrics(memory, lambda: 0)
    assert value(metrics, "progress_ratio", **OF) == 0.01
    assert value(metrics, "training_loss", **OF) is None
    assert value(metrics, "start_timestamp_seconds", **OF) is None


THEN = datetime(2026, 1, 1, tzinfo=UTC)
LIVE = LiveProgress("Training", None, THEN, "pod", THEN)
REPORT = PostedReport(Report(uid="u1", run=1, outcome="Succeeded"), "pod")


def test_progress_and_report_of_one_run_are_kept_side_by_side(memory: Memory) -> None:
    memory.report(KEY, "u1", 1, LIVE)
    memory.report(KEY, "u1", 1, REPORT)
    assert memory.reported("u1", 1) == (LIVE, REPORT)


def test_the_next_run_starts_with_nothing_reported(memory: Memory) -> None:
    memory.report(KEY, "u1", 1, REPORT)
    memory.report(KEY, "u1", 2, LIVE)
    assert memory.reported("u1", 1) == (None, None)
    assert memory.reported("u1", 2) == (LIVE, None)


def test_a_pod_of_an_older_run_is_not_heard(memory: Memory) -> None:
    memory.report(KEY, "u1", 2, LIVE)
    assert not memory.report(KEY, "u1", 1, REPORT)
    assert memory.reported("u1", 2) == (LIVE, None)


def test_a_finetune_of_the_same_name_starts_with_nothing_reported(memory: Memory) -> None:
    memory.report(KEY, "u1", 1, REPORT)
    memory.observe(a_finetune(uid="u2"))
    assert memory.reported("u1", 1) == (None, None)
    assert not memory.report(KEY, "u1", 1, REPORT)


def test_nothing_of_a_deleted_finetune_stays(memory: Memory) -> None:
    memory.observe(a_finetune())
    memory.report(KEY, "u1", 1, REPORT)
    memory.forget(KEY)
    assert not memory.report(KEY, "u1", 1, LIVE)
    assert (memory._known, memory._reported) == ({}, {})
