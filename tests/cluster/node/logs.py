"""Serves `kubectl logs`: the part of a kubelet's HTTPS interface that the API server passes it on to."""

import http
import ssl
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol

from typing_extensions import override

from tests.cluster.certificates import KUBELET_CLIENT

POLL_SECONDS = 0.1
CHUNK_BYTES = 1 << 16
SOCKET_SECONDS = 60


class LoggedSlot(Protocol):
    """What the server needs to know of a container."""

    starts: int

    @property
    def is_finished(self) -> bool: ...

    def log_of(self, start: int) -> Path: ...


class LoggedPod(Protocol):
    """What the server needs to know of a pod."""

    def find_slot(self, container: str) -> Any: ...


Find = Callable[[str, str], LoggedPod | None]


class LogServer:
    """Listens on a free port of the loopback address; only the API server may ask."""

    def __init__(self, pki: Path, find: Find) -> None:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(pki / "ca.crt"))
        tls.verify_mode = ssl.CERT_REQUIRED
        tls.load_cert_chain(pki / "node-serving.crt", pki / "node-serving.key")

        class Handler(_Handler):
            find_pod = staticmethod(find)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        # The handshake is left to each request's thread: a silent client must not hold up the others.
        self._server.socket = tls.wrap_socket(
            self._server.socket, server_side=True, do_handshake_on_connect=False
        )
        self.port: int = self._server.server_address[1]

    def start(self) -> None:
        """Serve from a thread."""
        threading.Thread(target=self._server.serve_forever, daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = SOCKET_SECONDS
    find_pod: Find

    def do_GET(self) -> None:
        if not self._is_api_server():
            return self._refuse(http.HTTPStatus.FORBIDDEN, "only the API server may ask")
        url = urllib.parse.urlsplit(self.path)
        parts = url.path.strip("/").split("/")
        if len(parts) != 4 or parts[0] != "containerLogs":
            return self._refuse(http.HTTPStatus.NOT_FOUND, "this node serves containerLogs only")
        pod = self.find_pod(parts[1], parts[2])
        slot = pod.find_slot(parts[3]) if pod else None
        if slot is None:
            return self._refuse(
                http.HTTPStatus.NOT_FOUND, f"container {parts[3]} of pod {parts[2]} is not here"
            )
        return self._serve(slot, dict(urllib.parse.parse_qsl(url.query)))

    def _is_api_server(self) -> bool:
        certificate: dict[str, Any] = self.connection.getpeercert()
        names = {value for part in certificate["subject"] for key, value in part if key == "commonName"}
        return KUBELET_CLIENT in names

    def _serve(self, slot: LoggedSlot, query: dict[str, str]) -> None:
        start = slot.starts - 1 - (query.get("previous") == "true")
        if start < 0:
            return self._refuse(http.HTTPStatus.BAD_REQUEST, "the container has not run (that often) yet")
        self.send_response(http.HTTPStatus.OK)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        limit = int(query.get("limitBytes", 0)) or None
        follows = query.get("follow") == "true"
        for chunk in _read(slot, start, follows=follows, tail_lines=query.get("tailLines")):
            part = chunk if limit is None else chunk[:limit]
            limit = None if limit is None else limit - len(part)
            if part:
                self.wfile.write(f"{len(part):x}\r\n".encode() + part + b"\r\n")
                self.wfile.flush()
            if limit == 0:
                break
        self.wfile.write(b"0\r\n\r\n")
        return None

    def _refuse(self, status: http.HTTPStatus, message: str) -> None:
        body = message.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @override
    def log_message(self, *_arguments: object) -> None:
        """Keep the node's log for what it does itself."""


def _read(slot: LoggedSlot, start: int, *, follows: bool, tail_lines: str | None) -> Iterator[bytes]:
    path = slot.log_of(start)
    if not path.exists():
        return
    with path.open("rb") as file:
        if tail_lines is not None:
            lines = file.read().splitlines(keepends=True)
            yield b"".join(lines[max(len(lines) - int(tail_lines), 0) :])
        while True:
            # Asked before reading: what is written until the end is still read below.
            has_ended = slot.is_finished or slot.starts - 1 > start
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
            if not follows or has_ended:
                return
            time.sleep(POLL_SECONDS)
