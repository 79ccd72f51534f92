"""One size: so many finetunes from apply to settled on a fresh cluster, and what they cost."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from finetune_api import names
from tests.bench import costs, posts, yardstick
from tests.bench.costs import Cost
from tests.bench.fake_nodes import fake_node
from tests.bench.load import Load
from tests.cluster import Cluster, Settings, local_cluster
from tests.operator.process import Operator, install_chart, running_operator

NAMESPACE = "burst"
ONE_AT_A_TIME = 50
"""Finetunes behind the row for 1: a percentile needs many."""
YARDSTICK = 300
MOST_REPORTING = 100
SETTLE_SECONDS = 1800.0


@dataclass(frozen=True)
class Times:
    """How long to watch what has no end of its own, in seconds."""

    reports: float
    idle: float


@dataclass
class Bench:
    """A cluster with kwok and one operator."""

    cluster: Cluster
    operator: Operator
    kwok: int
    load: Load
    report: Callable[[str], None]

    def reading(self) -> costs.Reading:
        return costs.read(self.cluster, self.operator, {"kwok": self.kwok})

    @property
    def pid(self) -> int:
        assert self.operator.process is not None
        return self.operator.process.pid


def measure(count: int, times: Times, log: Path, report: Callable[[str], None]) -> dict[str, float]:
    """Figures by name, with their units."""
    report(f"{count} finetunes: starting a cluster")
    with _bench(log, report) as bench:
        given = yardstick.jobs_per_second(bench.cluster, YARDSTICK)
        wanted = [f"ft-{number:05d}" for number in range(count if count > 1 else ONE_AT_A_TIME)]
        row = {"finetunes": float(count), "plain_jobs_per_second": given}
        first = bench.reading()
        row |= _apply(bench, wanted, one_at_a_time=count == 1)
        made = bench.reading()
        row |= _share("to_job", costs.between(first, made), len(wanted))
        bench.load.await_running(wanted, SETTLE_SECONDS)
        running = bench.reading()
        row |= _reports(bench, wanted[:MOST_REPORTING], times.reports)
        before_end = bench.reading()
        bench.report(f"ending {len(wanted)} pods")
        bench.load.end(wanted)
        bench.load.await_ready(len(wanted), SETTLE_SECONDS)
        settled = bench.reading()
        row |= _life(costs.between(first, running), costs.between(before_end, settled), len(wanted))
        row["memory_mib"], row["memory_most_mib"] = costs.memory_mib(bench.pid)
        row |= _idle(bench, times.idle)
        row |= _restart(bench)
        bench.operator.stop()
        row["plain_finetunes_per_second"] = yardstick.finetunes_per_second(bench.cluster, YARDSTICK)
        row["load_average"] = costs.load_average()
        return row


@contextmanager
def _bench(log: Path, report: Callable[[str], None]) -> Iterator[Bench]:
    with local_cluster(Settings(pods=0), report=report) as cluster:
        install_chart(cluster)
        with fake_node(cluster, report) as kwok, running_operator(cluster, log=log) as operator:
            yield Bench(cluster, operator, kwok, Load(cluster, NAMESPACE, report), report)


def _apply(bench: Bench, wanted: Sequence[str], *, one_at_a_time: bool) -> dict[str, float]:
    bench.report(f"applying {len(wanted)}")
    load = bench.load
    began = time.monotonic()
    for group in [[name] for name in wanted] if one_at_a_time else [wanted]:
        load.apply(group)
        load.await_jobs(group, SETTLE_SECONDS)
    seconds = [load.jobs[name] - load.applied[name] for name in wanted]
    last = max(load.jobs.values()) - began
    percentiles = (
        statistics.quantiles(seconds, n=100, method="inclusive") if len(seconds) > 1 else seconds * 99
    )
    return {
        "apply_to_job_p50_seconds": percentiles[49],
        "apply_to_job_p99_seconds": percentiles[98],
        "last_job_seconds": max(seconds) if one_at_a_time else last,
        "finetunes_per_second": len(wanted) / last,
    }


def _share(name: str, cost: Cost, count: int) -> dict[str, float]:
    return {
        f"{name}_requests": sum(cost.own_requests().values()) / count,
        f"{name}_operator_cpu_ms": cost.cpu_seconds.get("operator", 0.0) * 1000 / count,
    }


def _life(begun: Cost, ended: Cost, count: int) -> dict[str, float]:
    """From apply to running and from the pod's end to settled; what lies between is not the operator's."""
    row = {
        key: value + _share("life", ended, count)[key] for key, value in _share("life", begun, count).items()
    }
    for component in (
        "kube-apiserver",
        "etcd",
        "kube-controller-manager",
        "kube-scheduler",
        "kwok",
        "benchmark",
    ):
        spent = begun.cpu_seconds.get(component, 0.0) + ended.cpu_seconds.get(component, 0.0)
        row[f"life_{component}_cpu_ms"] = spent * 1000 / count
    for what in sorted({*begun.own_requests(), *ended.own_requests()}):
        spent = begun.requests.get(what, 0.0) + ended.requests.get(what, 0.0)
        row[f"of_these_{what.replace(' ', '_')}"] = spent / count
    jobs = (cost.server_requests.get("jobs POST", 0.0) for cost in (begun, ended))
    row["server_jobs_POST"] = sum(jobs) / count
    return row


def _reports(bench: Bench, reporting: Sequence[str], seconds: float) -> dict[str, float]:
    bench.report(f"{len(reporting)} pods report for {seconds:.0f} s")
    first = bench.reading()
    posted = posts.post(bench.load, bench.operator, reporting, seconds)
    cost = costs.between(first, bench.reading())
    writes = cost.requests.get(f"{names.KIND} update", 0.0)
    accepted, throttled = posted.answers.get(200, 0), posted.answers.get(429, 0)
    return {
        "reports_per_second": posted.accepted_per_second,
        "reports_throttled_per_second": throttled / posted.seconds,
        "reports_refused": float(sum(posted.answers.values()) - accepted - throttled),
        "report_cpu_ms": cost.cpu_seconds.get("operator", 0.0) * 1000 / max(1, accepted),
        "status_writes_per_10_seconds": writes / len(reporting) / (cost.seconds / 10),
    }


def _idle(bench: Bench, seconds: float) -> dict[str, float]:
    bench.report(f"idle for {seconds:.0f} s")
    first = bench.reading()
    time.sleep(seconds)
    cost = costs.between(first, bench.reading())
    return {
        "idle_requests": sum(cost.own_requests().values()),
        "idle_status_writes": cost.server_requests.get("embeddingfinetunes status PUT", 0.0),
        "idle_cpu_percent": cost.cpu_seconds.get("operator", 0.0) / cost.seconds * 100,
    }


def _restart(bench: Bench) -> dict[str, float]:
    """A finetune that was applied while the operator was down has its Job: by then all others were seen."""
    bench.report("restart")
    bench.operator.stop()
    bench.load.apply(["zz-last"])
    began = time.monotonic()
    bench.operator.start()
    bench.load.await_jobs(["zz-last"], SETTLE_SECONDS)
    row = {"restart_seconds": time.monotonic() - began}
    row["restart_memory_most_mib"] = costs.memory_mib(bench.pid)[1]
    return row
