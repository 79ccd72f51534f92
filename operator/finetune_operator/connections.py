"""Connections to the operator, few and never for long without a request: nobody can use up its memory.

asyncio keeps 170 KiB for a TLS connection from its first byte on, and aiohttp waits for ever for a first
request and for somebody who reads an answer. Of too many connections the one goes that has been quiet for
longest, so that those who are served stay.
"""

import asyncio
import contextlib
import ssl
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.web_protocol import RequestHandler
from typing_extensions import override

MAX_CONNECTIONS = 256
# A connection must say its first request within this, handshake included; pods do so at once.
FIRST_REQUEST_SECONDS = 10.0
# To be read in by whoever asked.
ANSWER_SECONDS = 10.0


class Connections:
    """All connections of one listening socket; `accept` makes the protocol of a new one."""

    def __init__(self, make: Callable[[], RequestHandler], tls: ssl.SSLContext | None) -> None:
        self._make = make
        self._tls = tls
        self._quiet: OrderedDict[RequestHandler, asyncio.Transport] = OrderedDict()
        self._busy: dict[RequestHandler, asyncio.Transport] = {}
        self._timers: dict[RequestHandler, asyncio.TimerHandle] = {}
        self._handshakes: set[asyncio.Task[None]] = set()

    def accept(self) -> asyncio.Protocol:
        return _Door(self._opened)

    @web.middleware
    async def watch(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Must be the outermost: what comes after it is no longer bounded."""
        connection = request.protocol
        if timer := self._timers.pop(connection, None):
            timer.cancel()
        if raw := self._quiet.pop(connection, None):
            self._busy[connection] = raw
        try:
            return await _send(request, await handler(request))
        finally:
            if raw := self._busy.pop(connection, None):
                self._quiet[connection] = raw

    def close(self) -> None:
        """End those that no request has used yet; aiohttp ends the others."""
        for timer in self._timers.values():
            timer.cancel()
        for raw in (*self._quiet.values(), *self._busy.values()):
            raw.abort()

    def _opened(self, raw: asyncio.Transport) -> None:
        self._make_room()
        connection = self._make()
        self._quiet[connection] = raw
        loop = asyncio.get_running_loop()
        self._timers[connection] = loop.call_later(FIRST_REQUEST_SECONDS, self._give_up, connection)
        if self._tls is None:
            raw.set_protocol(connection)
            connection.connection_made(raw)
            return
        shaking = asyncio.create_task(_shake_hands(raw, connection, self._tls), name="handshake")
        self._handshakes.add(shaking)
        shaking.add_done_callback(self._handshakes.discard)

    def _make_room(self) -> None:
        for connections in (self._quiet, self._busy):
            for connection in [c for c, raw in connections.items() if raw.is_closing()]:
                del connections[connection]
        while len(self._quiet) + len(self._busy) >= MAX_CONNECTIONS and self._quiet:
            _, raw = self._quiet.popitem(last=False)
            raw.abort()

    def _give_up(self, connection: RequestHandler) -> None:
        del self._timers[connection]
        if raw := self._quiet.pop(connection, None):
            raw.abort()


async def _send(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """Whoever is gone meanwhile needs no answer."""
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await response.prepare(request)
            await response.write_eof()
    except ConnectionError:
        pass
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
    return response


class _Door(asyncio.Protocol):
    """Hands a connection on before anything is read from it."""

    def __init__(self, opened: Callable[[asyncio.Transport], None]) -> None:
        self._opened = opened

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.Transport):
            self._opened(transport)


class _Early(asyncio.Protocol):
    """Keeps what comes between the end of the handshake and the moment when aiohttp can take it."""

    def __init__(self) -> None:
        self.content: list[bytes] = []
        self.is_lost = False

    @override
    def data_received(self, data: bytes) -> None:
        self.content.append(data)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True


async def _shake_hands(raw: asyncio.Transport, connection: RequestHandler, tls: ssl.SSLContext) -> None:
    """A handshake that fails is the client's affair: it was told, and the connection is closed."""
    early, loop = _Early(), asyncio.get_running_loop()
    with contextlib.suppress(OSError):
        transport = await loop.start_tls(
            raw, early, tls, server_side=True, ssl_handshake_timeout=FIRST_REQUEST_SECONDS
        )
        if transport is None or early.is_lost:
            return
        transport.set_protocol(connection)
        connection.connection_made(transport)
        for data in early.content:
            connection.data_received(data)
