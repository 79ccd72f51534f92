"""A web server of a public name, with files in memory; reached by way of a proxy, as from inside a company.

A trainer in a pod refuses private addresses, and this machine has no other. Behind a proxy it is the proxy
that resolves names.
"""

import contextlib
import socket
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from typing_extensions import override

from tests.trainer.servers.certificates import write_certificate

HOST = "data.example.com"


@dataclass(frozen=True)
class Website:
    """proxy: URL of the proxy that knows where HOST is; certificate: what a client must trust."""

    proxy: str
    certificate: Path


@contextlib.contextmanager
def running_website(folder: Path, files: Mapping[str, bytes]) -> Iterator[Website]:
    """files: path that begins with / -> content."""
    pem = write_certificate(folder, [HOST])
    site = ThreadingHTTPServer(("127.0.0.1", 0), _serving(files))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    site.socket = context.wrap_socket(site.socket, server_side=True)
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), _leading_to(site.server_port))
    with _in_thread(site), _in_thread(proxy):
        yield Website(f"http://127.0.0.1:{proxy.server_port}", pem)


@contextlib.contextmanager
def _in_thread(server: ThreadingHTTPServer) -> Iterator[None]:
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _serving(files: Mapping[str, bytes]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = files.get(self.path)
            self.send_response(200 if content is not None else 404)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        @override
        def log_message(self, *args: object) -> None:
            pass

    return Handler


def _leading_to(port: int) -> type[BaseHTTPRequestHandler]:
    """A proxy that takes HOST to this port, and nobody anywhere else."""

    class Handler(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            if self.path != f"{HOST}:443":
                self.send_error(403)
                return
            with socket.create_connection(("127.0.0.1", port)) as site:
                self.send_response(200)
                self.end_headers()
                back = Thread(target=_pass_on, args=(site, self.connection))
                back.start()
                _pass_on(self.connection, site)
                back.join()

        @override
        def log_message(self, *args: object) -> None:
            pass

    return Handler


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
