"""One registry, by the OCI distribution protocol: requests with credentials, answers told as our errors.

Stands on oras-py, but for what that lacks: time limits, errors by status, passwords asked for by Basic as
well as Bearer, and a guard against addresses that must not be reached.
"""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import oras.auth.utils
import oras.container
import oras.provider
import requests
from typing_extensions import override

from finetune_trainer.errors import InvalidSpec, NoAccess, SourceUnavailable, TrainerError
from finetune_trainer.places import read_key
from finetune_trainer.sources.endpoints import is_loopback
from finetune_trainer.sources.guarded_session import guard_session
from finetune_trainer.sources.retries import parse_retry_after

CONNECT_SECONDS = 15
READ_SECONDS = 60
_HOSTS = {"docker.io": "registry-1.docker.io"}
"""Where the name of a registry is not that of its host."""


class RegistryClient(oras.provider.Registry):  # type: ignore[misc]
    """Requests to one repository. Statuses but those below 400 and 404 are raised as our errors."""

    def __init__(self, registry: str, repository: str, credentials: str | None) -> None:
        """credentials: `user:password` in Base64, None to ask as anybody."""
        host = registry.partition(":")[0]
        super().__init__(insecure=is_loopback(host))
        self.name = f"oci://{registry}/{repository}"
        self._credentials = credentials
        self._authorization: dict[str, str] = {}
        guard_session(self.session, timeout_seconds=(CONNECT_SECONDS, READ_SECONDS))
        if credentials is not None:
            self.auth._basic_auth = credentials  # noqa: SLF001 - oras's way to know a password's Base64
        # Of its own parser's names only those with a dot or a port have a registry.
        self.repository = oras.container.Container("owner/name")
        self.repository.registry = _HOSTS.get(registry, registry)
        self.repository.namespace, _, self.repository.repository = repository.rpartition("/")

    @override
    def do_request(
        self,
        url: str,
        method: str = "GET",
        data: Any = None,
        headers: dict[str, str] | None = None,
        json: Any = None,
        stream: bool = False,
    ) -> requests.Response:
        """One request, asked again with credentials where the registry wants them."""
        content = {"method": method, "data": data, "json": json, "stream": stream}
        wanted = {"Accept-Encoding": "identity", **(headers or {})}
        try:
            response = self._send(url, headers=wanted, **content)
            if response.status_code == requests.codes.unauthorized and self._authorize(response):
                response = self._send(url, headers=wanted, **content)
        except requests.RequestException as error:
            raise SourceUnavailable(
                "RegistryUnavailable",
                f"{self.name}: the registry did not answer, or broke off ({type(error).__name__})",
                "another attempt may work",
            ) from error
        if response.status_code >= 400 and response.status_code != requests.codes.not_found:
            raise self._status_error(response)
        return response

    def _send(self, url: str, *, headers: Mapping[str, str], **content: Any) -> requests.Response:
        if hasattr(content["data"], "seek"):
            content["data"].seek(0)
        # Uploads may go to another host: the credentials are the registry's own.
        own = urlsplit(url).netloc == self.repository.registry
        sent = {**headers, **(self._authorization if own else {})}
        response: requests.Response = self.session.request(url=url, headers=sent, **content)
        return response

    @override
    def _check_200_response(self, response: requests.Response) -> None:
        """Every status but 404 has been raised already; a repository that is not there has no tags."""

    def _authorize(self, response: requests.Response) -> bool:
        """Remember what to send, in the way that the registry asks for it. False if there is nothing new."""
        response.close()
        challenge = response.headers.get("Www-Authenticate", "")
        before = dict(self._authorization)
        if challenge.lower().startswith("basic") and self._credentials is not None:
            self._authorization = {"Authorization": f"Basic {self._credentials}"}
        elif challenge.lower().startswith("bearer"):
            asked = oras.auth.utils.parse_auth_header(challenge)
            ask = self.auth.request_token if self._credentials else self.auth.request_anonymous_token
            token = ask(asked)
            self._authorization = {"Authorization": f"Bearer {token}"} if token else {}
        return bool(self._authorization) and self._authorization != before

    def _status_error(self, response: requests.Response) -> TrainerError:
        status = response.status_code
        response.close()
        if status in {401, 403}:
            return NoAccess(
                "RegistryRefused",
                f"{self.name}: the registry refused access (status {status})",
                "set `secretRef` to a Secret of type kubernetes.io/dockerconfigjson that may use it",
            )
        if status in {408, 429} or status >= 500:
            return SourceUnavailable(
                "RegistryUnavailable",
                f"{self.name}: the registry answered with status {status}",
                "another attempt may work",
                retry_after_seconds=parse_retry_after(response.headers.get("Retry-After")),
            )
        return InvalidSpec(
            "RegistryRefused",
            f"{self.name}: the registry does not take the request (status {status})",
            "correct `uri`, or use a registry that stores OCI artifacts",
        )


def read_credentials(secret: Path | None, registry: str) -> str | None:
    """`user:password` in Base64 for a registry, of the key `.dockerconfigjson`; None without a Secret.

    Raises NoAccess when the Secret has none for it. Helper programs that such a file may name are not run.
    """
    if secret is None:
        return None
    try:
        auths = json.loads(read_key(secret, ".dockerconfigjson"))["auths"]
        by_host = {_host_of(key): entry for key, entry in auths.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NoAccess(
            "InvalidCredentials",
            f"key `.dockerconfigjson` of Secret {secret.name!r} must be JSON with `auths`",
            "create the Secret with `kubectl create secret docker-registry`",
        ) from error
    word = _word(by_host.get(registry) or by_host.get(_HOSTS.get(registry, "")))
    if word is None:
        raise NoAccess(
            "CredentialsMissing",
            f"key `.dockerconfigjson` of Secret {secret.name!r} has no password for {registry};"
            f" found {', '.join(sorted(by_host)) or 'none'}",
            f"create the Secret with `kubectl create secret docker-registry --docker-server={registry}`",
        )
    return word


def _host_of(key: str) -> str:
    """Docker writes `host`, `https://host` or, of its own hub, `https://index.docker.io/v1/`."""
    host = key.rpartition("://")[2].partition("/")[0]
    return "docker.io" if host == "index.docker.io" else host


def _word(entry: object) -> str | None:
    if not isinstance(entry, Mapping):
        return None
    if isinstance(auth := entry.get("auth"), str) and auth:
        return auth
    user, password = entry.get("username"), entry.get("password")
    if not (isinstance(user, str) and isinstance(password, str)):
        return None
    return base64.b64encode(f"{user}:{password}".encode()).decode()
