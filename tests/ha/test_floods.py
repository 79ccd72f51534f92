"""The report server under load and under attack, alone in a process: what it takes is printed, not judged."""

import asyncio
import contextlib
import socket
import ssl
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from tests.cluster.ports import reserve
from tests.cluster.waiting import eventually
from tests.ha.clients import Pod, steady, trust

pytestmark = pytest.mark.slow

PODS = 200
SECONDS = 5.0


@dataclass(frozen=True)
class Lone:
    """A running `tests.ha.lone_receiver`."""

    port: int
    health_port: int
    tls: ssl.SSLContext
    process: int

    def pods(self, *, keep: bool) -> list[Pod]:
        return [Pod(self.port, self.tls, number, keep=keep) for number in range(PODS)]

    @property
    def memory_mib(self) -> float:
        lines = Path(f"/proc/{self.process}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

    @property
    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.process}/stat").read_text().split()
        return (int(fields[13]) + int(fields[14])) / 100

    async def is_healthy(self) -> bool:
        url = f"http://127.0.0.1:{self.health_port}/healthz"
        timeout = aiohttp.ClientTimeout(total=5)
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url) as answer:
            return answer.status == 200


@pytest.fixture
def lone(tmp_path: Path) -> Iterator[Lone]:
    with reserve(2) as (port, health_port):
        arguments = [str(port), str(health_port), str(PODS), str(tmp_path)]
        process = subprocess.Popen([sys.executable, "-m", "tests.ha.lone_receiver", *arguments])
        try:
            eventually((tmp_path / "ready").exists, "the receiver is ready", seconds=60)
            yield Lone(port, health_port, trust(tmp_path), process.pid)
        finally:
            process.terminate()
            process.wait(10)


@pytest.mark.parametrize(
    ("per_second", "keep"),
    [
        pytest.param(1000, True, id="1,000 a second over open connections"),
        pytest.param(100, False, id="100 a second, each over a new connection"),
    ],
)
async def test_reports_of_many_pods_are_all_taken(lone: Lone, per_second: int, keep: bool) -> None:
    pods = lone.pods(keep=keep)
    await steady(pods, per_second=100, seconds=2)
    before = lone.cpu_seconds
    load = await steady(pods, per_second=per_second, seconds=SECONDS)
    cpu = (lone.cpu_seconds - before) / len(load.latencies)
    for pod in pods:
        await pod.close()
    print(f"{per_second}/s, {'open' if keep else 'new'} connections: {load}; {cpu * 1000:.2f} ms of CPU each")
    assert set(load.codes) == {200}


async def test_pods_are_heard_through_a_flood_of_connections_and_forged_tokens(lone: Lone) -> None:
    """Thousands of connections that say nothing to both ports, forged tokens, and deaf readers of metrics."""
    before, stop = lone.memory_mib, threading.Event()
    flood = asyncio.create_task(asyncio.to_thread(_connect_and_be_silent, lone, stop))
    forging = [asyncio.create_task(_forge(lone, stop)) for _ in range(10)]
    heard = await steady(lone.pods(keep=False), per_second=50, seconds=SECONDS)
    assert await lone.is_healthy()
    stop.set()
    forged = Counter(code for codes in await asyncio.gather(*forging) for code in codes)
    grown = lone.memory_mib - before
    print(f"heard {heard}; forged {dict(forged)}; {await flood} silent; memory grew by {grown:.0f} MiB")
    assert set(heard.codes) == {200}
    assert set(forged) <= {403, 429}
    # Twice 256 connections, those of reports with asyncio's buffers for TLS; 3,000 of them took 500.
    assert grown < 160


def _connect_and_be_silent(lone: Lone, stop: threading.Event) -> int:
    """How many connections there were; beside them come some that ask for the metrics and never read."""
    with contextlib.ExitStack() as opened:
        for number in range(3000):
            for port in (lone.port, lone.health_port):
                connection = opened.enter_context(socket.create_connection(("127.0.0.1", port)))
                if port == lone.health_port and number % 100 == 0:
                    connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: deaf\r\n\r\n")
        stop.wait()
        return 2 * number


async def _forge(lone: Lone, stop: threading.Event) -> list[int]:
    pod, codes = Pod(lone.port, lone.tls, 0, token="forged"), []
    while not stop.is_set():
        try:
            codes.append(await pod.report())
        except (ConnectionError, asyncio.IncompleteReadError):
            await pod.close()
    await pod.close()
    return codes
