"""A client of the API server for dicts: enough for node, storage and tests, and quick to import.

Any thread may use it: a request takes a connection that is kept open, or a new one, and gives it back. One
that the server has closed meanwhile costs a second try, and so does a failed read; callers that write
repeat by themselves.
"""

import http.client
import json
import ssl
import urllib.parse
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Dict = dict[str, Any]
REQUEST_SECONDS = 30.0
# The API server is asked to end a watch before the socket would time out on a quiet one.
WATCH_SECONDS = 300
IDLE_CONNECTIONS = 16
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
JSON = "application/json"


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
        self._idle: deque[http.client.HTTPSConnection] = deque()  # its append and pop need no lock

    def get(self, path: str, **query: str) -> Dict | None:
        """The object, or None when there is none."""
        try:
            return self.request("GET", path, query=query)
        except ApiError as error:
            if error.status == http.HTTPStatus.NOT_FOUND:
                return None
            raise

    def list(self, path: str, *, accept: str = JSON, **query: str) -> Dict:
        """A list object with its resourceVersion."""
        return self.request("GET", path, query=query, accept=accept)

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

    def watch(self, path: str, *, accept: str = JSON, **query: str) -> Iterator[Dict]:
        """Events until the server ends the watch. Raises ApiError(410) when a new list is needed."""
        connection = self._connect(timeout=WATCH_SECONDS + 30)
        try:
            options = {
                **query,
                "watch": "1",
                "timeoutSeconds": str(WATCH_SECONDS),
                "allowWatchBookmarks": "true",
            }
            connection.request("GET", _url(path, options), headers={"Accept": accept})
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
        content_type: str = JSON,
        accept: str = JSON,
    ) -> Dict:
        """One exchange; the answer as a dict."""
        content = self.raw(method, path, body, query=query, content_type=content_type, accept=accept)
        answer: Dict = json.loads(content or b"{}")
        return answer

    def raw(
        self,
        method: str,
        path: str,
        body: Dict | None = None,
        *,
        query: dict[str, str] | None = None,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> bytes:
        """One exchange; the answer as it came."""
        payload = None if body is None else json.dumps(body).encode()
        headers = {"Accept": accept, "Content-Type": content_type}
        url = _url(path, query or {})
        for last in (False, True):
            kept = self._take_idle()
            connection = kept or self._connect(REQUEST_SECONDS)
            try:
                connection.request(method, url, payload, headers)
                response = connection.getresponse()
                content = response.read()
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                # A server that closed an idle connection has not seen the request; on a new one it may have.
                stale = isinstance(error, ConnectionError | ssl.SSLEOFError) and kept is not None
                if last or not (stale or method == "GET"):
                    raise Unreachable(f"{method} {path}: {error!r}") from error
                self.close()  # those kept beside it are stale too
            else:
                self._give_back(connection)
                _raise_for(response.status, content)
                return content
        raise AssertionError("unreachable: the second round returns or raises")

    def close(self) -> None:
        """Close the connections that are kept open."""
        while (connection := self._take_idle()) is not None:
            connection.close()

    def _take_idle(self) -> http.client.HTTPSConnection | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _give_back(self, connection: http.client.HTTPSConnection) -> None:
        if len(self._idle) < IDLE_CONNECTIONS:
            self._idle.append(connection)
        else:
            connection.close()

    def _connect(self, timeout: float) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(self._host, self._port, timeout=timeout, context=self._tls)


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
