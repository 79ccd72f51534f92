"""The listening sockets: health, metrics, and patience with those that say nothing."""

import asyncio
import functools
import gzip
import io
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec

from finetune_operator import connections, servers
from finetune_operator.certificates import issue, load_into, new_authority
from finetune_operator.servers import health_app, serving
from tests.cluster.ports import reserve
from tests.cluster.waiting import eventually

# More than what the sockets' buffers take.
LARGE = 64_000_000


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


async def test_metrics_are_sent_small_to_whom_that_suits(port: int) -> None:
    text = b"planted 3.0\n" * 100_000
    app = health_app(lambda: iter([text[:600_000], text[600_000:]]), lambda: True)
    async with serving(app, address="127.0.0.1", port=port), aiohttp.ClientSession() as session:
        for encoding, most in (("gzip", len(text) // 10), ("identity", len(text))):
            headers = {"Accept-Encoding": encoding}
            url = f"http://127.0.0.1:{port}/metrics"
            async with session.get(url, headers=headers, auto_decompress=False) as answer:
                sent = await answer.read()
            assert len(sent) <= most
            assert (gzip.decompress(sent) if encoding == "gzip" else sent) == text


async def is_closed(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read() == b""
    except ConnectionResetError:
        return True


async def test_a_connection_that_never_asks_is_closed_and_one_that_asked_may_stay(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "FIRST_REQUEST_SECONDS", 0.05)
    async with serving(health_app(lambda: iter(()), lambda: True), address="127.0.0.1", port=port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await ask(reader, writer)
        slow_reader, slow_writer = await asyncio.open_connection("127.0.0.1", port)
        slow_writer.write(b"POST / HTTP/1.1\r\nHost: slow\r\n")  # and never the empty line
        assert await is_closed(slow_reader)
        await ask(reader, writer)  # it is older than the one that was closed
        writer.close()
        slow_writer.close()


async def test_a_second_request_that_never_ends_is_given_up_too(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(servers, "IDLE_SECONDS", 0.05)
    async with serving(an_app(), address="127.0.0.1", port=port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await ask(reader, writer)
        writer.write(b"GET / HTTP/1.1\r\nHost: slow\r\n")
        assert await is_closed(reader)
        writer.close()


@pytest.mark.parametrize("is_secure", [False, True])
async def test_of_too_many_connections_the_ones_go_that_were_quiet_for_longest(
    port: int, monkeypatch: pytest.MonkeyPatch, is_secure: bool
) -> None:
    """Also those whose handshake never begins."""
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 4)
    server, client = tls() if is_secure else (None, None)
    async with serving(an_app(), address="127.0.0.1", port=port, tls=server):
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client)
        await ask(reader, writer)
        silent += [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        assert all([await is_closed(first) for first, _ in silent[:3]])
        await ask(reader, writer)
        for _, quiet in (*silent, (reader, writer)):
            quiet.close()


async def test_a_handshake_that_never_comes_or_is_none_ends_without_a_word(
    port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connections, "FIRST_REQUEST_SECONDS", 0.2)
    server, client = tls()
    async with serving(an_app(), address="127.0.0.1", port=port, tls=server):
        silent, silent_writer = await asyncio.open_connection("127.0.0.1", port)
        wrong, wrong_writer = await asyncio.open_connection("127.0.0.1", port)
        wrong_writer.write(b"GET /readyz HTTP/1.1\r\n\r\n")
        await wrong.read()  # an alert, or nothing
        assert await is_closed(silent)
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client)
        await ask(reader, writer)
        for one in (silent_writer, wrong_writer, writer):
            one.close()
    assert not caplog.records


async def test_who_does_not_read_the_answer_does_not_keep_it(
    port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "ANSWER_SECONDS", 0.1)
    transports: list[Any] = []

    async def large(request: web.Request) -> web.Response:
        transports.append(request.transport)
        return web.Response(body=io.BytesIO(bytes(LARGE)))

    app = web.Application()
    app.router.add_get("/", large)
    async with serving(app, address="127.0.0.1", port=port):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: deaf\r\n\r\n")
        given_up = functools.partial(eventually, lambda: transports and transports[0].is_closing(), "the end")
        await asyncio.to_thread(given_up, seconds=10)
        writer.close()


async def test_scrapes_at_the_same_time_cost_one_rendering(port: int) -> None:
    rendered, go_on = [], threading.Event()

    def render() -> Iterator[bytes]:
        rendered.append(1)
        go_on.wait(10)
        yield b"planted 3.0\n"

    async with serving(health_app(render, lambda: True), address="127.0.0.1", port=port):
        url = f"http://127.0.0.1:{port}"
        scrapes = [asyncio.create_task(get(f"{url}/metrics")) for _ in range(20)]
        assert await get(f"{url}/healthz") == (200, "ok")
        go_on.set()
        assert await asyncio.gather(*scrapes) == [(200, "planted 3.0\n")] * 20
    assert len(rendered) == 1


def an_app() -> web.Application:
    return health_app(lambda: iter(()), lambda: True)


def tls() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """For the server and for its client."""
    now = datetime.now(UTC)
    authority = new_authority(now, ec.generate_private_key(ec.SECP256R1()))
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    load_into(server, issue(authority, ("127.0.0.1",), now))
    return server, ssl.create_default_context(cadata=authority.certificate_pem.decode())


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
