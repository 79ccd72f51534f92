"""Proxies between operators and the API server: plain HTTP in, TLS out, a fault of choice in between.

One thread serves all of them. A fault is asked before a request is passed on and after it was answered, and
a watch runs through it line by line; see `faults`.
"""

import asyncio
import contextlib
import ssl
import threading
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import aiohttp
from aiohttp import web
from yarl import URL

from tests.cluster.ports import reserve
from tests.faults.calls import Call, call_of
from tests.faults.faults import Answer, Fault, Reset

T = TypeVar("T")
# Set anew on the way: the connection is another one, and lines can only be read if they are not compressed.
_OWN_HEADERS = {"host", "connection", "content-length", "transfer-encoding", "accept-encoding"}
_NO_LIMIT = aiohttp.ClientTimeout(total=None)


@dataclass
class Proxy:
    """One operator's way to the API server. `fault` and `calls` may be used from any thread."""

    upstream: str
    tls: ssl.SSLContext | None
    port: int
    fault: Fault = field(default_factory=Fault)
    calls: list[Call] = field(default_factory=list)
    """Everything that was asked, in its order."""

    def __post_init__(self) -> None:
        self._open: set[asyncio.Transport] = set()
        self._loop = asyncio.get_running_loop()
        self._runner: web.AppRunner | None = None
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self.tls or False, limit=0), auto_decompress=False
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def go_away(self) -> None:
        """Refuse connections and break the open ones, until `come_back`."""
        self._run(self._close())

    def come_back(self) -> None:
        self._run(self.listen())

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    async def listen(self) -> None:
        """Take connections; no more once it was closed."""
        if self._session.closed:
            return
        app = web.Application(client_max_size=1 << 24)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await _listen(self._runner, self.port)

    async def close(self) -> None:
        """For good."""
        await self._close()
        await self._session.close()

    async def _close(self) -> None:
        for transport in tuple(self._open):
            transport.abort()
        if self._runner is not None:
            runner, self._runner = self._runner, None
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        call = call_of(request.method, request.path, request.query, time.monotonic())
        self.calls.append(call)
        transport = request.transport
        assert isinstance(transport, asyncio.Transport)
        self._open.add(transport)
        try:
            return await self._answer(request, call)
        except (Reset, aiohttp.ClientError):
            transport.abort()
            return web.Response()
        finally:
            self._open.discard(transport)

    async def _answer(self, request: web.Request, call: Call) -> web.StreamResponse:
        fault = self.fault
        made = await fault.instead(call)
        if made is None and call.verb == "watch":
            return await self._watch(request, call, fault)
        answer = made or await fault.answered(call, await self._ask(request))
        return web.Response(status=answer.status, body=answer.body, headers=answer.headers)

    async def _ask(self, request: web.Request) -> Answer:
        body = await request.read()
        async with self._upstream(request, body) as found:
            return Answer(found.status, await found.read(), _kept(found.headers))

    async def _watch(self, request: web.Request, call: Call, fault: Fault) -> web.StreamResponse:
        async with self._upstream(request) as found:
            response = web.StreamResponse(status=found.status, headers=_kept(found.headers))
            await response.prepare(request)
            async for line in fault.lines(call, _lines(found.content)):
                await response.write(line)
        return response

    def _upstream(self, request: web.Request, body: bytes | None = None) -> Any:
        headers = {name: text for name, text in request.headers.items() if name.lower() not in _OWN_HEADERS}
        url = URL(f"{self.upstream}{request.raw_path}", encoded=True)
        return self._session.request(
            request.method, url, data=body or None, timeout=_NO_LIMIT,
            headers={**headers, "Accept-Encoding": "identity"},
        )  # fmt: skip


async def _listen(runner: web.AppRunner, port: int) -> None:
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, reuse_address=True).start()


def _kept(headers: Any) -> dict[str, str]:
    return {name: headers[name] for name in ("Content-Type", "Date", "Retry-After") if name in headers}


async def _lines(content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Whole lines of any length, with their ends."""
    rest = b""
    async for chunk in content.iter_any():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line + b"\n"


class ProxyHost:
    """The thread that serves proxies."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies", daemon=True)
        self._thread.start()

    @contextlib.contextmanager
    def proxy(self, upstream: str, tls: ssl.SSLContext | None) -> Iterator[Proxy]:
        """A proxy on a port of its own, for as long as the context lasts."""
        with reserve(1) as (port,):
            proxy = self._run(self._begin(upstream, tls, port))
            try:
                yield proxy
            finally:
                self._run(proxy.close())

    @contextlib.contextmanager
    def serving(self, app: web.Application) -> Iterator[str]:
        """Serve an app on a port of its own; its URL."""
        with reserve(1) as (port,):
            runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
            self._run(_listen(runner, port))
            try:
                yield f"http://127.0.0.1:{port}"
            finally:
                self._run(runner.cleanup())

    async def _begin(self, upstream: str, tls: ssl.SSLContext | None, port: int) -> Proxy:
        proxy = Proxy(upstream, tls, port)
        await proxy.listen()
        return proxy

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
