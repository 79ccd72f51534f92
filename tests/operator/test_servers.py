"""The listening sockets: health, metrics, and patience with those that say nothing."""

import asyncio
from collections.abc import Iterator

import aiohttp
import pytest
from aiohttp import web

from finetune_operator import servers
from finetune_operator.servers import health_app, serving
from tests.cluster.ports import reserve


@pytest.fixture
def port() -> Iterator[int]:
    with reserve(1) as (port,):
        yield port


async def get(url: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.text()


async def test_a_standby_and_a_leader_are_ready_but_a_stuck_queue_is_not_healthy(port: int) -> None:
    alive = True
    pieces = [b"planted 3.0\n", b"another 4.0\n"]
    async with serving(health_app(lambda: iter(pieces), lambda: alive), address="127.0.0.1", port=port):
        assert await get(f"http://127.0.0.1:{port}/readyz") == (200, "ok")
        assert await get(f"http://127.0.0.1:{port}/healthz") == (200, "ok")
        assert (await get(f"http://127.0.0.1:{port}/metrics"))[1] == "planted 3.0\nanother 4.0\n"
        alive = False
        assert await get(f"http://127.0.0.1:{port}/healthz") == (500, "the queue is stuck")
        assert (await get(f"http://127.0.0.1:{port}/readyz"))[0] == 200


async def is_closed(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read() == b""
    except ConnectionResetError:
        return True


async def test_a_connection_that_never_asks_is_closed_and_one_that_asked_may_stay(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "FIRST_REQUEST_SECONDS", 0.05)
    async with serving(health_app(lambda: iter(()), lambda: True), address="127.0.0.1", port=port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await ask(reader, writer)
        slow_reader, slow_writer = await asyncio.open_connection("127.0.0.1", port)
        slow_writer.write(b"POST / HTTP/1.1\r\nHost: slow\r\n")  # and never the empty line
        assert await is_closed(slow_reader)
        await ask(reader, writer)  # it is older than the one that was closed
        writer.close()
        slow_writer.close()


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"GET /readyz HTTP/1.1\r\nHost: here\r\n\r\n")
    assert b"200 OK" in await reader.readline()
    await reader.readuntil(b"\r\n\r\n")
    assert await reader.readexactly(2) == b"ok"


async def test_a_port_that_is_taken_is_said(port: int) -> None:
    async with serving(web.Application(), address="127.0.0.1", port=port):
        with pytest.raises(OSError, match="in use"):
            async with serving(web.Application(), address="127.0.0.1", port=port):
                pass
