"""Measures /metrics with many finetunes: what a scrape costs, and what reports of pods feel of it.

A process holds the finetunes and serves metrics and reports as the operator does, without a cluster. Another
posts 100 reports a second and notes how long each takes: without scrapes, with one every 5 s by a third, and
(what the kept text saves) with one that is made anew. Then a real Prometheus scrapes it.
"""

import argparse
import asyncio
import contextlib
import gzip
import multiprocessing
import os
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from tests.bench.costs import load_average, memory_mib
from tests.bench.operator import table
from tests.bench.served_metrics import Ports, serve
from tests.cluster.ports import reserve
from tests.cluster.waiting import eventually
from tests.operator.scraping import running_prometheus

REPORTS_PER_SECOND = 100
SECONDS = 20.0
SCRAPE_EVERY_SECONDS = 5.0
START_SECONDS = 120.0
START_SECONDS_OF_A_PROCESS = 3.0
MS = 1000.0
SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Served:
    """The process with the finetunes."""

    pid: int
    ports: Ports

    @property
    def metrics(self) -> str:
        return f"http://127.0.0.1:{self.ports.metrics}/metrics"


@contextlib.contextmanager
def serving(finetunes: int, *, anew: bool = False) -> Iterator[Served]:
    """anew: the text of every finetune is made for each scrape."""
    with reserve(2) as (metrics, reports):
        ports = Ports(metrics, reports)
        process = SPAWN.Process(target=serve, args=(finetunes, ports, anew), daemon=True)
        process.start()
        assert process.pid is not None
        served = Served(process.pid, ports)
        try:
            eventually(lambda: _answers(served), "the process serves", seconds=START_SECONDS)
            yield served
        finally:
            process.terminate()
            process.join(10)


def measure(finetunes: int, seconds: float = SECONDS) -> dict[str, float]:
    """The figures of one size; seconds: how long reports are posted, three times."""
    row: dict[str, float] = {"finetunes": finetunes}
    with serving(finetunes) as served:
        row["memory_before_mib"] = memory_mib(served.pid)[0]
        row |= _scrapes(served)
        row |= _latencies("quiet", asyncio.run(_post(served, seconds, scrape=False)))
        row |= _latencies("scraped", asyncio.run(_post(served, seconds, scrape=True)))
        row["memory_most_mib"] = memory_mib(served.pid)[1]
        row |= _of_prometheus(served)
    with serving(finetunes, anew=True) as served:
        row["anew_scrape_seconds"] = _timed(served.metrics)[0]
        row |= _latencies("anew", asyncio.run(_post(served, seconds, scrape=True)))
        row["anew_memory_most_mib"] = memory_mib(served.pid)[1]
    return row


def _scrapes(served: Served) -> dict[str, float]:
    """Seconds of the first one, which makes all text, and of one after it."""
    first, body = _timed(served.metrics)
    again = min(_timed(served.metrics)[0] for _ in range(3))
    text = gzip.decompress(body)
    lines = text.count(b"\n") - text.count(b"\n# ")
    return {
        "series": lines,
        "megabytes": len(text) / 1e6,
        "megabytes_sent": len(body) / 1e6,
        "first_scrape_seconds": first,
        "scrape_seconds": again,
    }


def _timed(url: str) -> tuple[float, bytes]:
    began = time.monotonic()
    request = urllib.request.Request(url, headers={"Accept-Encoding": "gzip"})  # noqa: S310 - http
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - http
        body: bytes = answer.read()
    return time.monotonic() - began, body


async def _post(served: Served, seconds: float, *, scrape: bool) -> list[float]:
    """Seconds that each report took, from when it was due."""
    took: list[float] = []
    began = time.monotonic()

    async def report(session: aiohttp.ClientSession, number: int) -> None:
        due = began + number / REPORTS_PER_SECOND
        await asyncio.sleep(due - time.monotonic())
        async with session.post(served.ports.report_url(number), **served.ports.report(number)) as answer:
            assert answer.status == 200, await answer.text()
        took.append(time.monotonic() - due)

    scraping = SPAWN.Process(target=_scrape_on, args=(served.metrics,), daemon=True) if scrape else None
    if scraping is not None:
        scraping.start()
        await asyncio.sleep(START_SECONDS_OF_A_PROCESS)
        began = time.monotonic()
    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(report(session, n) for n in range(int(seconds * REPORTS_PER_SECOND))))
    if scraping is not None:
        scraping.terminate()
        scraping.join(10)
    return sorted(took)


def _scrape_on(url: str) -> None:
    while True:
        took, _ = _timed(url)
        time.sleep(max(0, SCRAPE_EVERY_SECONDS - took))


def _latencies(name: str, took: list[float]) -> dict[str, float]:
    return {
        f"report_{name}_p50_ms": took[len(took) // 2] * MS,
        f"report_{name}_p99_ms": took[len(took) * 99 // 100] * MS,
        f"report_{name}_most_ms": took[-1] * MS,
    }


def _of_prometheus(served: Served) -> dict[str, float]:
    """What a real one says of its scrapes, and what it costs itself."""
    target = f"127.0.0.1:{served.ports.metrics}"
    with (
        tempfile.TemporaryDirectory() as folder,
        running_prometheus(target, Path(folder), every="5s") as prometheus,
    ):
        prometheus.await_scrapes(3, seconds=START_SECONDS)
        return {
            "prometheus_scrape_seconds": prometheus.value("scrape_duration_seconds") or 0,
            "prometheus_samples": prometheus.value("scrape_samples_scraped") or 0,
            "prometheus_memory_mib": memory_mib(prometheus.pid)[0],
        }


def _answers(served: Served) -> bool:
    try:
        _timed(served.metrics.replace("/metrics", "/readyz"))
    except OSError:
        return False
    return True


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.metrics", description=__doc__)
    parser.add_argument("--finetunes", type=int, nargs="+", default=[2000, 10000], metavar="N")
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores, load average {load_average():.1f}", file=sys.stderr)
    print(table([measure(count) for count in arguments.finetunes]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
