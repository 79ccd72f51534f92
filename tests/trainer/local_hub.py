"""A hub on this machine: the few endpoints that the hub's own client asks for a pinned revision."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote, urlsplit

from typing_extensions import override

COMMIT = "0123456789abcdef0123456789abcdef01234567"
Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Hub:
    """files: name in a repository -> content, by "models/owner/name" or "datasets/owner/name"."""

    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    token: str | None = None
    broken: int | None = None
    url: str = ""
    requests: list[str] = field(default_factory=list)

    def answer(self, path: str, authorization: str | None) -> Answer:
        self.requests.append(path)
        if self.broken is not None:
            return self.broken, {}, b"{}"
        if self.token is not None and authorization != f"Bearer {self.token}":
            return HTTPStatus.UNAUTHORIZED, {"X-Error-Message": "Invalid username or password."}, b"{}"
        return self._listing(path) if path.startswith("/api/") else self._file(path)

    def _listing(self, path: str) -> Answer:
        repository, _, revision = path.removeprefix("/api/").partition("/tree/")
        if repository not in self.files:
            return HTTPStatus.NOT_FOUND, {"X-Error-Code": "RepoNotFound"}, b"{}"
        if revision != COMMIT:
            return HTTPStatus.NOT_FOUND, {"X-Error-Code": "RevisionNotFound"}, b"{}"
        entries = [
            {"type": "file", "path": name, "size": len(content), "oid": _etag(content)}
            for name, content in self.files[repository].items()
        ]
        return HTTPStatus.OK, {"Content-Type": "application/json"}, json.dumps(entries).encode()

    def _file(self, path: str) -> Answer:
        repository, _, rest = path[1:].partition(f"/resolve/{COMMIT}/")
        full = repository if repository.startswith("datasets/") else f"models/{repository}"
        content = self.files.get(full, {}).get(rest)
        if content is None:
            return HTTPStatus.NOT_FOUND, {"X-Error-Code": "EntryNotFound"}, b""
        headers = {"ETag": f'"{_etag(content)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        return HTTPStatus.OK, headers, content


def _etag(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


@contextmanager
def running(hub: Hub) -> Iterator[Hub]:
    """The hub answering on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            status, headers, body = hub.answer(path, self.headers.get("Authorization"))
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815

        @override
        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
