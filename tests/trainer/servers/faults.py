"""A proxy in front of a real server that does what networks do: refuses, slows down, stalls, breaks off."""

import http.client
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from urllib.parse import urlsplit

from typing_extensions import override

_OF_ONE_HOP = {"connection", "transfer-encoding", "keep-alive"}


@dataclass(frozen=True)
class Fault:
    """What happens to one request. status: is answered without asking the server; cut_after: so many bytes of
    the answer come, then the connection ends; stall: the answer never comes. None of it: nothing happens.
    """

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    stall: bool = False


@dataclass
class Faults:
    """url: of the proxy; coming: what happens to the next requests; always: to those after them.

    cut: the first answer to a GET for a path that ends so breaks off after so many bytes.
    """

    url: str
    coming: deque[Fault] = field(default_factory=deque)
    always: Fault = field(default_factory=Fault)
    cut: tuple[str, int] | None = None
    requests: list[str] = field(default_factory=list)
    over: Event = field(default_factory=Event)

    @property
    def host(self) -> str:
        return self.url.removeprefix("http://")

    def next(self, request: str) -> Fault:
        if self.cut is not None and request.startswith("GET") and request.endswith(self.cut[0]):
            fault, self.cut = Fault(cut_after=self.cut[1]), None
            return fault
        return self.coming.popleft() if self.coming else self.always


@contextmanager
def running_faults(upstream: str) -> Iterator[Faults]:
    """upstream: URL of the real server."""
    target = urlsplit(upstream).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            request = f"{self.command} {self.path}"
            faults.requests.append(request)
            fault = faults.next(request)
            if fault.stall:
                faults.over.wait()
                self.close_connection = True
            elif fault.status is not None:
                self._answer(fault.status, fault.headers, b"", None)
            else:
                self._answer(*self._ask(content), fault.cut_after)

        do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815

        def _ask(self, content: bytes) -> tuple[int, dict[str, str], bytes]:
            connection = http.client.HTTPConnection(target)
            connection.request(self.command, self.path, content, dict(self.headers.items()))
            response = connection.getresponse()
            body = response.read()
            headers = {k: v for k, v in response.getheaders() if k.lower() not in _OF_ONE_HOP}
            connection.close()
            return response.status, headers, body

        def _answer(self, status: int, headers: dict[str, str], body: bytes, cut_after: int | None) -> None:
            self.send_response_only(status)
            for name, value in headers.items():
                self.send_header(name, value)
            if self.command != "HEAD" and not any(n.lower() == "content-length" for n in headers):
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with suppress(ConnectionError):
                self.wfile.write(body[:cut_after])
            if cut_after is not None:
                self.close_connection = True

        @override
        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    faults = Faults(f"http://127.0.0.1:{server.server_port}")
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield faults
    finally:
        faults.over.set()
        server.shutdown()
        thread.join()
        server.server_close()
