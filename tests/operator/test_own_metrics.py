"""What /metrics says of the operator's work and of all runs together."""

import json
from importlib.metadata import version
from typing import Any

import pytest
from prometheus_client.exposition import generate_latest

from finetune_operator.errors import Waiting
from finetune_operator.kube import ApiFailure
from finetune_operator.memory import Memory
from finetune_operator.metrics import OperatorMetrics
from finetune_operator.metrics.runs import MAX_REASONS, OTHER
from tests.plan import world

RUN = {"number": 1, "startTime": "2026-01-01T00:00:00Z"}
ENDED = {**RUN, "completionTime": "2026-01-01T01:00:00Z"}


@pytest.fixture
def metrics() -> OperatorMetrics:
    return OperatorMetrics(Memory(), lambda: 7)


def value(metrics: OperatorMetrics, name: str, **labels: str) -> float | None:
    return metrics.registry.client.get_sample_value(f"embedding_finetune_{name}", labels)


def write(
    metrics: OperatorMetrics, before: dict[str, Any], after: dict[str, Any], *, gpus: int = 1, **seen: Any
) -> None:
    metadata = {"namespace": "team", "name": "one", "uid": "u1"}
    spec = {"runtime": {"gpusPerNode": gpus}}
    finetune = {"metadata": metadata, "spec": spec, "status": before}
    metrics.runs.count(world.a_look(finetune, **seen), after)


def test_the_operators_own_work_is_counted(metrics: OperatorMetrics) -> None:
    metrics.count_api_request("create", "Job", "201", 0.02)
    metrics.count_report("403")
    metrics.count_watch_event("Pod")
    assert value(metrics, "operator_api_requests_total", verb="create", kind="Job", code="201") == 1
    assert value(metrics, "operator_api_request_duration_seconds_bucket", verb="create", le="0.025") == 1
    assert value(metrics, "operator_api_request_duration_seconds_bucket", verb="create", le="0.01") == 0
    assert value(metrics, "operator_status_report_requests_total", code="403") == 1
    assert value(metrics, "operator_watch_events_total", kind="Pod") == 1
    assert (value(metrics, "operator_last_watch_event_timestamp_seconds", kind="Pod") or 0) > 1_700_000_000
    assert value(metrics, "operator_queue_depth") == 7
    assert value(metrics, "operator_leader") == 0
    assert value(metrics, "operator_build_info", version=version("embedding-finetune-operator")) == 1
    assert b"_created{" not in generate_latest(metrics.registry.client)


def test_looks_that_break_off_are_counted_by_class(metrics: OperatorMetrics) -> None:
    with metrics.counting_result():
        pass
    for error in (ApiFailure("planted"), Waiting("Word", "planted", 1), KeyError("planted")):
        with pytest.raises(type(error), match="planted"), metrics.counting_result():
            raise error
    assert value(metrics, "operator_reconcile_total", result="success") == 1
    assert value(metrics, "operator_reconcile_total", result="error") == 3
    for reason in ("ApiFailure", "Waiting", "Unexpected"):
        assert value(metrics, "operator_reconcile_errors_total", reason=reason) == 1


def test_what_a_run_takes_is_counted_once_however_often_it_is_written(metrics: OperatorMetrics) -> None:
    first, second = (
        {"run": {**RUN, "activeSeconds": 60}},
        {"run": {**RUN, "activeSeconds": 100, "wastedSeconds": 10}},
    )
    write(metrics, {}, first, gpus=2)
    write(metrics, first, first, gpus=2)
    write(metrics, first, second, gpus=2)
    assert value(metrics, "namespace_gpu_seconds_total", namespace="team") == 200
    assert value(metrics, "namespace_wasted_gpu_seconds_total", namespace="team") == 20


def test_a_run_that_follows_another_adds_to_what_was_counted(metrics: OperatorMetrics) -> None:
    first, second = {"run": {**RUN, "activeSeconds": 60}}, {"run": {**RUN, "number": 2, "activeSeconds": 30}}
    write(metrics, {}, first)
    write(metrics, first, second)
    assert value(metrics, "namespace_gpu_seconds_total", namespace="team") == 90


@pytest.mark.parametrize(
    ("after", "outcome"),
    [
        ({"phase": "Ready", "artifact": {"run": 1}}, "Published"),
        ({"phase": "Ready"}, "Measured"),
        ({"phase": "GateFailed"}, "GateFailed"),
        ({"phase": "Failed"}, "Failed"),
    ],
)
def test_an_end_is_counted_once_by_its_outcome(
    metrics: OperatorMetrics, after: dict[str, Any], outcome: str
) -> None:
    after = {**after, "run": {**ENDED, "activeSeconds": 3000}}
    write(metrics, {"run": RUN}, after)
    write(metrics, after, {**after, "phase": "Ready"})  # its gates changed
    assert value(metrics, "runs_total", namespace="team", outcome=outcome) == 1
    assert value(metrics, "run_duration_seconds_sum", outcome=outcome) == 3600
    assert value(metrics, "run_waiting_seconds_sum") == 600


def test_a_run_that_gives_way_to_another_is_superseded(metrics: OperatorMetrics) -> None:
    past = {"number": 1, "outcome": "Superseded", "activeSeconds": 70}
    after = {"run": {"number": 2}, "history": [past]}
    write(metrics, {"run": {**RUN, "activeSeconds": 60}}, after)
    write(metrics, after, after)
    assert value(metrics, "runs_total", namespace="team", outcome="Superseded") == 1
    assert value(metrics, "namespace_gpu_seconds_total", namespace="team") == 10, "since it was last written"


def test_a_past_run_that_had_ended_is_not_counted_again(metrics: OperatorMetrics) -> None:
    write(metrics, {"run": ENDED}, {"run": {"number": 2}, "history": [{"number": 1, "outcome": "Failed"}]})
    assert value(metrics, "runs_total", namespace="team", outcome="Failed") == 0


def test_retries_are_counted_by_reason_and_interruptions_apart(metrics: OperatorMetrics) -> None:
    after = {"run": {**RUN, "retries": 1, "interruptions": 2}}
    write(metrics, {"run": RUN}, after, pods=(world.a_finished_pod(137, reason="OOMKilled"),))
    write(metrics, after, {"run": {**RUN, "retries": 2, "interruptions": 2}})
    assert value(metrics, "run_retries_total", reason="HostOutOfMemory") == 1
    assert value(metrics, "run_retries_total", reason="PodGone") == 1
    assert value(metrics, "run_interruptions_total", namespace="team") == 2


def test_what_plan_writes_of_a_failed_attempt_is_what_is_counted(metrics: OperatorMetrics) -> None:
    reported = world.a_report("Failed", failure={"reason": "DiskOnFire", "message": "", "retryable": True})
    pods = (world.a_finished_pod(1, json.dumps(reported)),)
    observed = world.a_look(world.started(), job=world.a_job(status={"failed": 1}), pods=pods)
    metrics.runs.count(observed, world.decide(observed).status)
    assert value(metrics, "run_retries_total", reason="DiskOnFire") == 1
    assert value(metrics, "namespace_gpu_seconds_total", namespace="team-a") == 0


def test_reasons_that_an_image_invents_do_not_become_series_without_end(metrics: OperatorMetrics) -> None:
    for number in range(MAX_REASONS + 10):
        word = f"Word{chr(ord('A') + number // 26)}{chr(ord('a') + number % 26)}"
        failure = {"reason": word, "message": "", "retryable": True}
        report = json.dumps(world.a_report("Failed", failure=failure, uid="u1"))
        after = {"run": {**RUN, "retries": 1}}
        write(metrics, {"run": RUN}, after, pods=(world.a_finished_pod(1, report),))
    (family,) = (f for f in metrics.registry.client.collect() if f.name == "embedding_finetune_run_retries")
    assert len(family.samples) == MAX_REASONS + 1
    assert value(metrics, "run_retries_total", reason=OTHER) == 10
