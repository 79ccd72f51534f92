"""A hub on this machine: the endpoints that the hub's own client asks to read, and to publish."""

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

from tests.trainer.hub_repositories import Answer, Repositories

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """files: name in a repository -> content, by "models/owner/name" or "datasets/owner/name", at COMMIT.

    repositories: those that a client makes and writes.
    """

    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    repositories: Repositories = field(default_factory=Repositories)
    token: str | None = None
    broken: int | None = None
    url: str = ""
    requests: list[str] = field(default_factory=list)

    def answer(self, method: str, path: str, authorization: str | None, body: bytes = b"") -> Answer:
        self.requests.append(path)
        if self.broken is not None:
            return self.broken, {}, b"{}"
        if (
            self.token is not None
            and authorization != f"Bearer {self.token}"
            and not path.startswith("/lfs/")
        ):
            return HTTPStatus.UNAUTHORIZED, {"X-Error-Message": "Invalid username or password."}, b"{}"
        if (said := self.repositories.ask(path, body)) is not None:
            return said
        if method in {"POST", "PUT", "DELETE"}:
            return self.repositories.write(method, path, body, self.url)
        return self._listing(path) if path.startswith("/api/") else self._file(path)

    def _snapshot(self, repository: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """Commit and files; None for a revision that is not there."""
        if repository in self.files:
            return (COMMIT, self.files[repository]) if revision == COMMIT else None
        known = self.repositories.all.get(repository)
        commit = known.resolve(revision) if known else None
        return (commit, known.commits[commit]) if known and commit else None

    def _listing(self, path: str) -> Answer:
        repository, _, revision = path.removeprefix("/api/").partition("/tree/")
        if repository not in {*self.files, *self.repositories.all}:
            return HTTPStatus.NOT_FOUND, {"X-Error-Code": "RepoNotFound"}, b"{}"
        if (snapshot := self._snapshot(repository, revision)) is None:
            return HTTPStatus.NOT_FOUND, {"X-Error-Code": "RevisionNotFound"}, b"{}"
        entries = [
            {"type": "file", "path": name, "size": len(content), "oid": _etag(name, content)}
            for name, content in snapshot[1].items()
        ]
        return HTTPStatus.OK, {"Content-Type": "application/json"}, json.dumps(entries).encode()

    def _file(self, path: str) -> Answer:
        repository, _, rest = path[1:].partition("/resolve/")
        revision, _, name = rest.partition("/")
        full = repository if repository.startswith("datasets/") else f"models/{repository}"
        snapshot = self._snapshot(full, revision)
        if snapshot is None or name not in snapshot[1]:
            return HTTPStatus.NOT_FOUND, {"X-Error-Code": "EntryNotFound"}, b""
        commit, files = snapshot
        headers = {"ETag": f'"{_etag(name, files[name])}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        return HTTPStatus.OK, headers, files[name]


def _etag(name: str, content: bytes) -> str:
    """As a hub has them: of large files the SHA-256."""
    if name.endswith(".safetensors"):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


@contextmanager
def running(hub: Hub) -> Iterator[Hub]:
    """The hub answering on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = unquote(urlsplit(self.path).path)
            sent = self._sent()
            status, headers, body = hub.answer(
                "GET" if self.command == "HEAD" else self.command,
                path,
                self.headers.get("Authorization"),
                sent,
            )
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815

        def _sent(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

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
