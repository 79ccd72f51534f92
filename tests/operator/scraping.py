"""A real Prometheus, and a server of metrics for it to scrape that needs no operator."""

import asyncio
import contextlib
import json
import subprocess
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from finetune_operator.metrics import OperatorMetrics
from finetune_operator.servers import health_app, serving
from tests.cluster.binaries import require_program
from tests.cluster.ports import reserve
from tests.cluster.waiting import eventually


@dataclass(frozen=True)
class Prometheus:
    """One that scrapes one target."""

    url: str
    pid: int

    def ask(self, query: str) -> list[dict[str, Any]]:
        """Result of an instant query; nothing while it comes up."""
        parameters = urllib.parse.urlencode({"query": query})
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/query?{parameters}", timeout=60) as answer:  # noqa: S310 - http
                return list(json.loads(answer.read())["data"]["result"])
        except urllib.error.HTTPError as error:
            if error.code == 503:
                return []
            raise AssertionError(f"{query}: {error.read().decode()}") from error
        except OSError:
            return []

    def value(self, query: str) -> float | None:
        """Of the one series that the query gives."""
        found = self.ask(query)
        assert len(found) <= 1, f"{query} gives {len(found)} series"
        return float(found[0]["value"][1]) if found else None

    def await_scrapes(self, count: int = 1, *, seconds: float = 30) -> None:
        """Wait until it has scraped so often from now on."""
        before = self._scrapes()
        eventually(lambda: self._scrapes() >= before + count, f"{count} scrapes more", seconds=seconds)

    def _scrapes(self) -> float:
        return self.value("count_over_time(up[1h])") or 0


@contextlib.contextmanager
def running_prometheus(target: str, folder: Path, *, every: str) -> Iterator[Prometheus]:
    """target: host and port; every: time between scrapes, as Prometheus writes it."""
    program = require_program("prometheus", "prometheus")
    jobs = [{"job_name": "operator", "static_configs": [{"targets": [target]}]}]
    config = folder / "prometheus.yaml"
    scraping = {"scrape_interval": every, "scrape_timeout": every}
    config.write_text(yaml.safe_dump({"global": scraping, "scrape_configs": jobs}))
    with reserve(1) as (port,), (folder / "prometheus.log").open("wb") as log:
        options = [f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
        listen = f"--web.listen-address=127.0.0.1:{port}"
        process = subprocess.Popen([program, *options, listen], stdout=log, stderr=log)
        try:
            yield Prometheus(f"http://127.0.0.1:{port}", process.pid)
        finally:
            process.terminate()
            process.wait(30)


@contextlib.contextmanager
def exporting(metrics: OperatorMetrics) -> Iterator[str]:
    """Host and port of the operator's own server of metrics, in a thread."""
    with reserve(1) as (port,):
        loop, stop, ready = asyncio.new_event_loop(), asyncio.Event(), threading.Event()

        async def serve() -> None:
            app = health_app(metrics.render, lambda: True)
            async with serving(app, address="127.0.0.1", port=port):
                ready.set()
                await stop.wait()

        thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
        thread.start()
        ready.wait(10)
        try:
            yield f"127.0.0.1:{port}"
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join(10)
            loop.close()
