"""Clients of the report server: pods that report at a steady rate, and those that mean harm."""

import asyncio
import contextlib
import json
import ssl
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from typing_extensions import override

PATH = "/apis/embeddings.dev/v1alpha1/namespaces/team/embeddingfinetunes/{name}/status"


@dataclass
class Load:
    """What a load has seen: how often each code, and every latency in seconds."""

    codes: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)

    def quantile(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    @override
    def __str__(self) -> str:
        parts = ", ".join(
            f"p{share * 100:g} {self.quantile(share) * 1000:.1f} ms" for share in (0.5, 0.9, 0.99)
        )
        return f"{dict(self.codes)}; {parts}, max {max(self.latencies) * 1000:.1f} ms"


class Pod:
    """Reports over a connection that is kept open, or over a new one each time."""

    def __init__(
        self, port: int, tls: ssl.SSLContext, number: int, *, keep: bool = True, token: str = ""
    ) -> None:
        self._port, self._tls, self._keep = port, tls, keep
        self._name, self._token = str(number), token or f"pod-{number}"
        self._steps = count(1)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def report(self) -> int:
        """The answer's code."""
        reader, writer = self._streams or await self.connect()
        self._streams = (reader, writer)
        writer.write(self.request(self._body()))
        code = await read_answer(reader)
        if not self._keep:
            await self.close()
        return code

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self._port, ssl=self._tls)

    async def close(self) -> None:
        """Until the socket is closed: one that is not would be told as a warning by some later test."""
        if self._streams is not None:
            self._streams[1].close()
            with contextlib.suppress(OSError):
                await self._streams[1].wait_closed()
            self._streams = None

    def request(self, body: bytes) -> bytes:
        head = (
            f"POST {PATH.format(name=self._name)} HTTP/1.1", "Host: reports",
            f"Authorization: Bearer {self._token}", f"Content-Length: {len(body)}", "", "",
        )  # fmt: skip
        return "\r\n".join(head).encode() + body

    def _body(self) -> bytes:
        step = next(self._steps)
        metrics = {"phase": "Training", "current_step": step, "total_steps": 10_000, "loss": 0.3 + 1 / step}
        metrics |= {"samples_per_second": 31.2, "current_epoch": step / 1000}
        status = {
            "progressPercentage": min(99, step // 100),
            "estimatedRemainingSeconds": 600,
            "lastUpdatedTime": datetime.now(UTC).isoformat(),
            "metrics": [{"name": name, "value": str(value)} for name, value in metrics.items()],
        }
        return json.dumps({"trainerStatus": status}).encode()


async def read_answer(reader: asyncio.StreamReader) -> int:
    """The code; the rest is read and dropped."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
    )
    await reader.readexactly(length)
    return int(head.split(b" ")[1])


async def steady(pods: list[Pod], *, per_second: float, seconds: float) -> Load:
    """All pods together report so often, whatever answers take: latency counts from when a report is due."""
    load, tasks = Load(), set()
    begun = time.monotonic()
    order = [pods[n % len(pods)] for n in range(int(per_second * seconds))]
    locks = {id(pod): asyncio.Lock() for pod in pods}
    for number, pod in enumerate(order):
        due = begun + number / per_second
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        tasks.add(asyncio.create_task(_report(pod, locks[id(pod)], due, load)))
    await asyncio.gather(*tasks)
    return load


async def _report(pod: Pod, lock: asyncio.Lock, due: float, load: Load) -> None:
    async with lock:
        code = await pod.report()
    load.codes[code] += 1
    load.latencies.append(time.monotonic() - due)


def trust(folder: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(folder / "ca.crt"))
