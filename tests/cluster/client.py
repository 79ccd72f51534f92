"""A client of the API server for dicts: enough for the node, the storage and the tests, and quick to import.

Each thread keeps one connection. A request that fails on a connection that was kept open is sent once more on a new
one if it only reads; the callers that write know themselves whether to repeat.
"""

import http.client
import json
import ssl
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Dict = dict[str, Any]
REQUEST_SECONDS = 30.0
# The API server is asked to end a watch before the socket would time out on a quiet one.
WATCH_SECONDS = 300
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"


class ApiError(Exception):
    """The API server answered with an error."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason


class Unreachable(Exception):
    """No answer came from the API server."""


class Client:
    """Speaks to one API server as one user."""

    def __init__(self, server: str, pki: Path, certificate: str) -> None:
        parts = urllib.parse.urlsplit(server)
        self._host, self._port = parts.hostname or "", parts.port or 443
        self._tls = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        self._tls.load_cert_chain(pki / f"{certificate}.crt", pki / f"{certificate}.key")
        self._kept = threading.local()

    def get(self, path: str, **query: str) -> Dict | None:
        """The object, or None when there is none."""
        try:
            return self.request("GET", path, query=query)
        except ApiError as error:
            if error.status == http.HTTPStatus.NOT_FOUND:
                return None
            raise

    def list(self, path: str, **query: str) -> Dict:
        """A list object with its resourceVersion."""
        return self.request("GET", path, query=query)

    def create(self, path: str, body: Dict) -> Dict:
        """POST."""
        return self.request("POST", path, body)

    def put(self, path: str, body: Dict) -> Dict:
        """Replace."""
        return self.request("PUT", path, body)

    def patch(self, path: str, body: Dict, kind: str = MERGE_PATCH) -> Dict:
        """Merge patch unless another kind is named."""
        return self.request("PATCH", path, body, content_type=kind)

    def delete(self, path: str, body: Dict | None = None) -> None:
        """Delete; an object that is already gone is fine."""
        try:
            self.request("DELETE", path, body)
        except ApiError as error:
            if error.status != http.HTTPStatus.NOT_FOUND:
                raise

    def watch(self, path: str, **query: str) -> Iterator[Dict]:
        """Events until the server ends the watch. Raises ApiError(410) when a new list is needed."""
        connection = self._connect(timeout=WATCH_SECONDS + 30)
        try:
            options = {**query, "watch": "1", "timeoutSeconds": str(WATCH_SECONDS), "allowWatchBookmarks": "true"}
            connection.request("GET", _url(path, options))
            response = connection.getresponse()
            _raise_for(response.status, b"" if response.status < 300 else response.read())
            while line := response.readline():
                event: Dict = json.loads(line)
                if event["type"] == "ERROR":
                    raise _error(event["object"])
                yield event
        except (OSError, http.client.HTTPException, json.JSONDecodeError) as error:
            raise Unreachable(f"watch of {path}: {error!r}") from error
        finally:
            connection.close()

    def request(
        self,
        method: str,
        path: str,
        body: Dict | None = None,
        *,
        query: dict[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Dict:
        """One exchange; the answer as a dict."""
        return json.loads(self.raw(method, path, body, query=query, content_type=content_type) or b"{}")  # type: ignore[no-any-return]

    def raw(
        self,
        method: str,
        path: str,
        body: Dict | None = None,
        *,
        query: dict[str, str] | None = None,
        content_type: str = "application/json",
    ) -> bytes:
        """One exchange; the answer as it came."""
        payload = None if body is None else json.dumps(body).encode()
        headers = {"Accept": "application/json", "Content-Type": content_type}
        url = _url(path, query or {})
        for last in (False, True):
            connection, is_new = self._connection()
            try:
                connection.request(method, url, payload, headers)
                response = connection.getresponse()
                content = response.read()
            except (OSError, http.client.HTTPException) as error:
                self._forget()
                # A server that closed an idle connection has not seen the request; on a new one it may have.
                stale = isinstance(error, ConnectionError | http.client.RemoteDisconnected) and not is_new
                if last or not (stale or method == "GET"):
                    raise Unreachable(f"{method} {path}: {error!r}") from error
            else:
                _raise_for(response.status, content)
                return content
        raise AssertionError("unreachable: the second round returns or raises")

    def _connection(self) -> tuple[http.client.HTTPSConnection, bool]:
        kept: http.client.HTTPSConnection | None = getattr(self._kept, "connection", None)
        if kept is not None:
            return kept, False
        self._kept.connection = self._connect(REQUEST_SECONDS)
        return self._kept.connection, True

    def _connect(self, timeout: float) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(self._host, self._port, timeout=timeout, context=self._tls)

    def _forget(self) -> None:
        self._kept.connection.close()
        self._kept.connection = None


def _url(path: str, query: dict[str, str]) -> str:
    return f"{path}?{urllib.parse.urlencode(query)}" if query else path


def _raise_for(status: int, content: bytes) -> None:
    if status < http.HTTPStatus.BAD_REQUEST:
        return
    try:
        answer = json.loads(content)
    except json.JSONDecodeError:
        answer = {}
    if not isinstance(answer, dict) or "code" not in answer:
        answer = {"code": status, "reason": "", "message": content.decode(errors="replace")[:500]}
    raise _error(answer)


def _error(status: Dict) -> ApiError:
    return ApiError(int(status.get("code") or 500), status.get("reason") or "", status.get("message") or "")
