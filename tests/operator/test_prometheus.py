"""A real Prometheus scrapes the operator, and answers what a platform team asks it."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from finetune_api.status import Progress
from finetune_operator.memory import Key
from finetune_operator.metrics.finetunes import FAMILIES
from tests.cluster import Cluster
from tests.cluster.binaries import require_program
from tests.cluster.waiting import eventually
from tests.operator.conftest import QUICK, Finetunes
from tests.operator.process import Operator, running_operator
from tests.operator.scraped import LIVE, PRIMARY, RUN, Scrape, a_finetune
from tests.operator.scraping import Prometheus, exporting, running_prometheus
from tests.plan import world

PAGE = Path(__file__).parents[2] / "docs/metrics.md"
QUESTIONS = re.findall(r"^([^\n]+)\n\n```promql\n(.*?)```", PAGE.read_text(), re.MULTILINE | re.DOTALL)
ENDED = {**RUN, "completionTime": "2026-01-01T01:00:00Z", "activeSeconds": 3000, "wastedSeconds": 300}
ARTIFACT = {"uri": "s3://m/1", "digest": "sha256:0", "run": 1, "report": "s3://m/1/report.json"}


@pytest.fixture
def prometheus(operator: Operator, tmp_path: Path) -> Iterator[Prometheus]:
    """It scrapes the operator every second."""
    with running_prometheus(operator.health_url.removeprefix("http://"), tmp_path, every="1s") as prometheus:
        yield prometheus


@pytest.mark.cluster
@pytest.mark.timeout(1800)
def test_prometheus_answers_for_the_gain_until_the_finetune_is_deleted(
    prometheus: Prometheus, finetunes: Finetunes
) -> None:
    finetunes.apply("succeed")
    finetunes.await_condition("Ready", "True")
    of = f'namespace="{finetunes.namespace}",embeddingfinetune="one"'
    gain = f"embedding_finetune_evaluation_gain{{{of}}}"
    (found,) = eventually(lambda: prometheus.ask(gain), "the gain")
    assert found["value"][1] == "0.09"
    assert found["metric"]["evaluator"] == "dev"
    tuned = f'embedding_finetune_evaluation_score{{{of},model="tuned"}}'
    base = f'embedding_finetune_evaluation_score{{{of},model="base"}}'
    assert prometheus.value(f"{tuned} - ignoring(model) {base}") == pytest.approx(0.09)
    assert prometheus.value(f"embedding_finetune_gate_passed{{{of}}}") == 1
    assert (prometheus.value(f"embedding_finetune_active_seconds_total{{{of}}}") or 0) >= 1
    counters = [family.name for family in FAMILIES if family.kind == "counter"]
    assert [name for name in counters if prometheus.value(f"resets({name}{{{of}}}[10m])") != 0] == []
    ended = f'embedding_finetune_runs_total{{namespace="{finetunes.namespace}"}}'
    assert prometheus.value(f"sum({ended})") == 1
    finetunes.delete()
    eventually(lambda: not prometheus.ask(f"embedding_finetune_info{{{of}}}"), "its series are stale")
    assert prometheus.value(f"sum({ended})") == 1


@pytest.mark.cluster
@pytest.mark.timeout(1800)
@pytest.mark.slow
def test_a_finetune_made_again_under_its_name_shares_no_series_with_the_first(
    prometheus: Prometheus, finetunes: Finetunes
) -> None:
    finetunes.apply("succeed")
    finetunes.await_condition("Ready", "True")
    of = f'{{namespace="{finetunes.namespace}",embeddingfinetune="one"}}'
    eventually(lambda: prometheus.ask(f"embedding_finetune_evaluation_gain{of}"), "the first one's gain")
    finetunes.delete()
    second = finetunes.apply("hold")
    info = f"embedding_finetune_info{of}"

    def only_the_second() -> bool:
        return [s["metric"]["uid"] for s in prometheus.ask(info)] == [second["metadata"]["uid"]]

    eventually(only_the_second, "the second one's info alone")
    eventually(lambda: prometheus.ask(f"embedding_finetune_last_progress_timestamp_seconds{of}"), "a report")
    assert prometheus.ask(f"embedding_finetune_evaluation_gain{of}") == []
    assert prometheus.ask(f"embedding_finetune_completion_timestamp_seconds{of}") == []
    assert prometheus.value(f"embedding_finetune_run_number{of}") == 1


@pytest.mark.cluster
@pytest.mark.timeout(1800)
def test_an_operator_can_leave_out_the_series_of_single_finetunes(
    cluster: Cluster, operator: Operator, finetunes: Finetunes, tmp_path: Path
) -> None:
    finetunes.apply("succeed")
    finetunes.await_condition("Ready", "True")
    counted = f'embedding_finetune_resources{{namespace="{finetunes.namespace}",phase="Ready"}}'
    assert operator.metric(counted) == 1
    assert 'embeddingfinetune="one"' in operator.metrics()
    operator.stop()
    without = {**QUICK, "FINETUNE_METRICS_PER_RESOURCE": "false"}
    with running_operator(cluster, log=tmp_path / "operator.log", settings=without) as other:
        eventually(lambda: other.metric(counted) == 1, "the finetune is counted")
        assert "embeddingfinetune=" not in other.metrics()
        assert (other.metric("embedding_finetune_operator_lease_transitions") or 0) >= 1


@pytest.mark.cluster
@pytest.mark.timeout(1800)
def test_promtool_finds_nothing_to_better_in_what_the_operator_says(
    operator: Operator, finetunes: Finetunes
) -> None:
    finetunes.apply("succeed")
    finetunes.await_condition("Ready", "True")
    said = operator.metrics()
    assert f'namespace="{finetunes.namespace}"' in said
    assert promtool(said) == ""
    assert "counter metrics should have" in promtool(said.replace("gpu_seconds_total", "gpu_seconds"))


def promtool(text: str) -> str:
    """What it complains about."""
    program = require_program("promtool", "prometheus")
    command = [str(program), "check", "metrics"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60)
    return f"{done.stdout}{done.stderr}"


@dataclass(frozen=True)
class Exported:
    """What is said, and the Prometheus that hears it."""

    scrape: Scrape
    prometheus: Prometheus


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exported]:
    """It has seen a little of everything."""
    scrape = Scrape(*of_every_kind())
    live = replace(LIVE, progress=Progress(percent=1, loss="nan"))
    scrape.memory.report(Key("team", "silent"), "silent", 1, live)
    folder = tmp_path_factory.mktemp("prometheus")
    with (
        exporting(scrape.metrics) as target,
        running_prometheus(target, folder, every="200ms") as prometheus,
    ):
        begin_everything(scrape)
        prometheus.await_scrapes(2)
        end_everything(scrape)
        prometheus.await_scrapes(2)
        yield Exported(scrape, prometheus)


def of_every_kind() -> Iterator[dict[str, Any]]:
    waiting = {"type": "Ready", "status": "Unknown", "reason": "Unschedulable"}
    conditions = [{**waiting, "lastTransitionTime": "", "observedGeneration": 1}]
    yield a_finetune("waits", "waits", phase="Pending", conditions=conditions)
    yield a_finetune("silent", "silent")
    yield a_finetune("failed", "failed", phase="Failed")
    lucky = {**PRIMARY, "gainLow": "-0.01"}
    yield a_finetune("old", "old", phase="Ready", run=ENDED, artifact=ARTIFACT, evaluation={"primary": lucky})


def begin_everything(scrape: Scrape) -> None:
    scrape.metrics.leader.set(1)
    count_writes(scrape, {}, {"run": RUN}, times=4)
    for outcome in ("Published", "Failed"):
        scrape.metrics.runs.duration.labels(outcome)
    scrape.metrics.runs.retries.labels("HostOutOfMemory")
    scrape.metrics.count_api_request("create", "Job", "429", 0.1)
    scrape.metrics.queue_seconds.observe(0.2)


def end_everything(scrape: Scrape) -> None:
    published = {"phase": "Ready", "run": ENDED, "artifact": ARTIFACT}
    count_writes(scrape, {"run": RUN}, published, times=3)
    count_writes(scrape, {"run": RUN}, {"phase": "Failed", "run": {**ENDED, "retries": 3}}, times=1)
    scrape.metrics.count_api_request("create", "Job", "429", 0.1)
    scrape.metrics.queue_seconds.observe(0.2)


def count_writes(scrape: Scrape, before: dict[str, Any], after: dict[str, Any], *, times: int) -> None:
    finetune = {**a_finetune(), "status": before}
    pods = (world.a_finished_pod(137, reason="OOMKilled"),)
    for _ in range(times):
        scrape.metrics.runs.count(world.a_look(finetune, pods=pods), after)


def test_every_question_of_the_documentation_has_an_answer(exported: Exported) -> None:
    assert len(QUESTIONS) > 10
    assert [question for question, query in QUESTIONS if not exported.prometheus.ask(query)] == []


def test_the_answers_are_right(exported: Exported) -> None:
    def answer(words: str) -> list[dict[str, Any]]:
        (query,) = (query for question, query in QUESTIONS if words in question)
        return exported.prometheus.ask(query)

    def number(words: str) -> float:
        (found,) = answer(words)
        return float(found["value"][1])

    assert number("runs of a week failed") == pytest.approx(0.25)
    assert number("share of them was lost") == pytest.approx(0.1)
    assert 1800 < number("nine of ten") <= 3600
    assert 300 < number("half of the runs wait") <= 900
    (waits,) = answer("wait, and for what")
    assert (waits["metric"]["embeddingfinetune"], waits["metric"]["reason"]) == ("waits", "Unschedulable")
    named = {"reported for 15": "silent", "diverged": "silent", "for good": "failed", "be luck": "old"}
    for words, name in named.items():
        assert [found["metric"]["embeddingfinetune"] for found in answer(words)] == [name]
    assert [found["metric"]["reason"] for found in answer("attempts made again")] == ["HostOutOfMemory"]


def test_what_prometheus_counts_grows_over_runs_that_follow_each_other(exported: Exported) -> None:
    """A new run begins at 0 again: `increase` adds what it takes to what the one before took."""
    scrape, prometheus = exported.scrape, exported.prometheus
    for number, seconds in ((1, 0), (1, 3600), (2, 0), (2, 1800)):
        run = {**RUN, "number": number, "activeSeconds": seconds}
        scrape.memory.observe(a_finetune("again", "again", run=run))
        prometheus.await_scrapes(2)
    query = 'increase(embedding_finetune_gpu_seconds_total{embeddingfinetune="again"}[1h])'
    assert prometheus.value(query) == pytest.approx(5400, rel=0.3)


def test_series_of_what_is_over_are_gone_with_the_next_scrape(exported: Exported) -> None:
    """By themselves: Prometheus would show them for five minutes more."""
    scrape, prometheus = exported.scrape, exported.prometheus

    def await_phases(*phases: str) -> None:
        query = 'embedding_finetune_status_phase{embeddingfinetune="passes"}'
        found = lambda: tuple(s["metric"]["phase"] for s in prometheus.ask(query)) == phases  # noqa: E731
        eventually(found, f"phases {phases}")

    scrape.memory.observe(a_finetune("passes", "passes", phase="Training"))
    await_phases("Training")
    scrape.memory.observe(a_finetune("passes", "passes", phase="Evaluating"))
    await_phases("Evaluating")
    scrape.memory.forget(Key("team", "passes"))
    await_phases()
    assert prometheus.ask('{embeddingfinetune="passes"}') == []
