"""A `requests` session that reaches only addresses that a source may have; redirects too."""

import socket
from typing import Any
from urllib.parse import urlsplit

from requests import PreparedRequest, Response, Session
from requests.adapters import HTTPAdapter
from typing_extensions import override
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from finetune_trainer.errors import InvalidSpec
from finetune_trainer.sources.endpoints import is_loopback, literal_addresses, refuse_metadata


def guard_session(session: Session, *, timeout_seconds: tuple[float, float]) -> None:
    """Let a session speak https alone, unless this machine is meant, and never with a metadata service.

    timeout_seconds: to connect, and between two pieces of an answer.
    """
    for prefix in ("https://", "http://"):
        session.mount(prefix, _Adapter(timeout_seconds))


class _Connection(HTTPConnection):
    @override
    def _new_conn(self) -> socket.socket:
        return _checked_peer(super()._new_conn(), self.host)


class _SecureConnection(HTTPSConnection):
    @override
    def _new_conn(self) -> socket.socket:
        return _checked_peer(super()._new_conn(), self.host)


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class _Adapter(HTTPAdapter):
    def __init__(self, timeout_seconds: tuple[float, float]) -> None:
        super().__init__()
        self._timeout_seconds = timeout_seconds

    @override
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}

    @override
    def send(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Response:
        _check_url(str(request.url))
        return super().send(request, *args, **{**kwargs, "timeout": self._timeout_seconds})


def _check_url(url: str) -> None:
    host = urlsplit(url).hostname or ""
    if not url.startswith("https://") and not is_loopback(host):
        raise InvalidSpec(
            "NotHttps", f"{host} must be reached by https://, found a redirect to http://", "use another host"
        )
    refuse_metadata(literal_addresses(host), host)


def _checked_peer(connection: socket.socket, host: str) -> socket.socket:
    try:
        refuse_metadata([str(connection.getpeername()[0])], host)
    except InvalidSpec:
        connection.close()
        raise
    return connection
