"""The two listening sockets: health and metrics in HTTP for kubelet and Prometheus, reports in HTTPS."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

from aiohttp import web
from aiohttp.web_protocol import RequestHandler
from prometheus_client.exposition import CONTENT_TYPE_LATEST

# A connection must say its first request within this, handshake included; pods do so at once.
FIRST_REQUEST_SECONDS = 10.0
IDLE_SECONDS = 120.0
SHUTDOWN_SECONDS = 1.0


def health_app(render: Callable[[], Iterator[bytes]], is_alive: Callable[[], bool]) -> web.Application:
    """render: the text of /metrics, in pieces.

    /healthz asks the queue, and is itself answered by the loop; /readyz is true on a standby too: one that
    were not ready would block the rollout that is to replace the leader.
    """

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok") if is_alive() else web.Response(status=500, text="the queue is stuck")

    async def readyz(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def metrics(_: web.Request) -> web.Response:
        text = await asyncio.to_thread(lambda: b"".join(render()))
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)
    return app


@contextlib.asynccontextmanager
async def serving(
    app: web.Application, *, address: str, port: int, tls: ssl.SSLContext | None = None
) -> AsyncIterator[None]:
    """Serve the app while the context lasts. Raises OSError when the port is taken."""
    patience = _Patience()
    app.middlewares.insert(0, patience.first_request)
    runner = web.AppRunner(
        app,
        access_log=None,
        auto_decompress=False,
        keepalive_timeout=IDLE_SECONDS,
        shutdown_timeout=SHUTDOWN_SECONDS,
    )
    await runner.setup()
    try:
        async with await _listen(runner, patience, address, port, tls):
            yield
    finally:
        await runner.cleanup()


async def _listen(
    runner: web.AppRunner, patience: "_Patience", address: str, port: int, tls: ssl.SSLContext | None
) -> asyncio.Server:
    """What aiohttp's own site does, with patience."""
    make = runner.server
    if make is None:
        raise RuntimeError("the runner must be set up first")
    seconds = None if tls is None else FIRST_REQUEST_SECONDS
    return await asyncio.get_running_loop().create_server(
        lambda: patience.arm(make()),
        address,
        port,
        ssl=tls,
        ssl_handshake_timeout=seconds,
        reuse_address=True,
    )


class _Patience:
    """Closes connections that never come to their first request: aiohttp would wait for ever."""

    def __init__(self) -> None:
        self._timers: dict[RequestHandler, asyncio.TimerHandle] = {}

    def arm(self, connection: RequestHandler) -> RequestHandler:
        timer = asyncio.get_running_loop().call_later(FIRST_REQUEST_SECONDS, self._end, connection)
        self._timers[connection] = timer
        return connection

    @web.middleware
    async def first_request(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if timer := self._timers.pop(request.protocol, None):
            timer.cancel()
        return await handler(request)

    def _end(self, connection: RequestHandler) -> None:
        del self._timers[connection]
        if connection.transport is not None:
            connection.transport.abort()
