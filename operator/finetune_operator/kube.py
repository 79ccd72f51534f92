"""The Kubernetes API in dicts: the client library is used for configuration, credentials and HTTP only.

HTTP errors become ours here, once, and nobody else sees a status code:

    404                           None
    409                           Conflict
    a refusal while creating      Waiting (quota, admission, namespace going away) or Stalled (never valid)
    everything else               ApiFailure, which the queue answers with back-off

It decides nothing: what to create, delete or write comes from `plan`.
"""

import json
import os
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from kubernetes.client.api_client import ApiClient
from kubernetes.client.configuration import Configuration
from kubernetes.client.exceptions import ApiException
from kubernetes.config import load_incluster_config, load_kube_config
from urllib3.exceptions import HTTPError
from urllib3.util import Retry

from finetune_api import names
from finetune_operator.decisions.refusals import is_refusal
from finetune_operator.decisions.refusals import refusal as explain_refusal

JsonObject = dict[str, Any]
Count = Callable[[str, str, str, float], None]
"""Told of each request: verb, kind, HTTP code (`error` without an answer), seconds."""

CONNECT_SECONDS = 5.0
READ_SECONDS = 30.0
PAGE_SIZE = 500

# Kind -> where its objects live. Kinds that are not here cannot be touched at all.
_COLLECTIONS = {
    names.KIND: (f"/apis/{names.API_VERSION}", names.PLURAL),
    "ConfigMap": ("/api/v1", "configmaps"),
    "Event": ("/api/v1", "events"),
    "Job": ("/apis/batch/v1", "jobs"),
    "Lease": ("/apis/coordination.k8s.io/v1", "leases"),
    "Pod": ("/api/v1", "pods"),
    "Secret": ("/api/v1", "secrets"),
    "ServiceAccount": ("/api/v1", "serviceaccounts"),
}
_METHODS = {
    "get": "GET", "list": "GET", "create": "POST", "update": "PUT", "patch": "PATCH", "delete": "DELETE",
}  # fmt: skip
# A connection that broke before the request was sent, and reads, are tried again at once; writes never are.
_RETRIES = Retry(
    total=2, connect=2, read=1, status=0, redirect=0, other=0, allowed_methods={"GET"},
    backoff_factor=0.1, respect_retry_after_header=False,
)  # fmt: skip


class ApiFailure(Exception):
    """The API server did not answer, or not with what was asked for; trying again later may help."""


class Conflict(Exception):
    """The object exists already, or is no longer what was read."""


class Kube:
    """The API server, for the few calls that the operator makes. Safe to share among threads."""

    def __init__(
        self,
        client: ApiClient,
        *,
        count: Count,
        read_seconds: float,
        may_write: Callable[[], bool] = lambda: True,
        heard: Callable[[str | None], None] = lambda _: None,
    ) -> None:
        """heard: told the date of each answer."""
        self._client = client
        self._count = count
        self._heard = heard
        self._read_seconds = read_seconds
        self._timeout = (CONNECT_SECONDS, read_seconds)
        self._may_write = may_write

    def fenced(self, may_write: Callable[[], bool]) -> "Kube":
        """The same, but asked before every write: a process that was stopped for a while must not go on."""
        return Kube(
            self._client,
            count=self._count,
            read_seconds=self._read_seconds,
            may_write=may_write,
            heard=self._heard,
        )

    def get(self, kind: str, namespace: str, name: str) -> JsonObject | None:
        """The object, or None."""
        return self._call("get", kind, _path(kind, namespace, name))

    def list(
        self, kind: str, namespace: str, *, labels: str = "", fields: str = ""
    ) -> tuple[JsonObject, ...]:
        """All objects that match the selectors, in pages; with their kind, which lists leave out."""
        found: list[JsonObject] = []
        query = {"limit": str(PAGE_SIZE), "labelSelector": labels, "fieldSelector": fields, "continue": ""}
        while True:
            page = self._call("list", kind, _path(kind, namespace), query=query) or {}
            found += [{"kind": kind, **item} for item in page.get("items", [])]
            query["continue"] = page.get("metadata", {}).get("continue", "")
            if not query["continue"]:
                return tuple(found)

    def create(self, manifest: JsonObject) -> JsonObject:
        """Raises Conflict when the name is taken, Waiting or Stalled when the cluster refuses the object."""
        path = _path(manifest["kind"], manifest["metadata"]["namespace"])
        try:
            return _there(self._call("create", manifest["kind"], path, body=manifest), manifest)
        except _Refused as refusal:
            raise explain_refusal(manifest, refusal.answer) from refusal

    def replace(self, manifest: JsonObject) -> JsonObject:
        """PUT with the resourceVersion that was read. Raises Conflict when somebody else was faster."""
        path = _path(manifest["kind"], manifest["metadata"]["namespace"], manifest["metadata"]["name"])
        return _there(self._call("update", manifest["kind"], path, body=manifest), manifest)

    def put_status(self, manifest: JsonObject) -> JsonObject:
        """The same for `/status` alone."""
        path = _path(manifest["kind"], manifest["metadata"]["namespace"], manifest["metadata"]["name"])
        return _there(self._call("update", manifest["kind"], f"{path}/status", body=manifest), manifest)

    def label(self, kind: str, namespace: str, name: str, labels: Mapping[str, str | None]) -> None:
        """Set labels; None removes one. An object that is gone needs none."""
        body = {"metadata": {"labels": dict(labels)}}
        content_type = "application/merge-patch+json"
        self._call("patch", kind, _path(kind, namespace, name), body=body, content_type=content_type)

    def delete(self, kind: str, namespace: str, name: str, *, uid: str) -> None:
        """Delete that very object after all below it; fine when it is gone. Conflict: it is another one."""
        body = {"propagationPolicy": "Foreground", "preconditions": {"uid": uid}}
        self._call("delete", kind, _path(kind, namespace, name), body=body)

    def review_token(self, token: str, audience: str) -> JsonObject:
        """Status of a TokenReview for that audience: `authenticated`, `user`, `audiences`."""
        review = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [audience]},
        }
        path = "/apis/authentication.k8s.io/v1/tokenreviews"
        answer = self._call("create", "TokenReview", path, body=review)
        return dict((answer or {}).get("status", {}))

    def has_finetunes(self) -> bool:
        """Whether the API server knows the resource, by discovery: no right on CRDs is needed."""
        answer = self._call("get", "APIResourceList", f"/apis/{names.API_VERSION}") or {}
        return any(resource["name"] == names.PLURAL for resource in answer.get("resources", []))

    def _call(
        self,
        verb: str,
        kind: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: JsonObject | None = None,
        content_type: str = "application/json",
    ) -> JsonObject | None:
        method, started = _METHODS[verb], time.monotonic()
        if method != "GET" and not self._may_write():
            raise ApiFailure(f"{method} {path}: not sent, as this replica no longer leads")
        headers = {**self._client.default_headers, "Accept": "application/json", "Content-Type": content_type}
        self._client.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        manager = {} if method in {"GET", "DELETE"} else {"fieldManager": names.MANAGED_BY}
        url = f"{self._client.configuration.host}{path}{_query({**(query or {}), **manager})}"
        try:
            # The client writes the body as JSON under all types of that family: a string would become one.
            response = self._client.call_api(method, url, headers, body, _request_timeout=self._timeout)
            content = response.response.data
            self._heard(response.response.headers.get("Date"))
        except (HTTPError, ApiException, OSError) as error:
            self._count(verb, kind, "error", time.monotonic() - started)
            raise ApiFailure(f"{method} {path}: no answer from the API server: {error}") from error
        self._count(verb, kind, str(response.status), time.monotonic() - started)
        return _parse(method, path, response.status, content)


class _Refused(ApiFailure):
    """Of the object itself. While creating, it says who must act; elsewhere it is like any other."""

    def __init__(self, text: str, answer: JsonObject) -> None:
        super().__init__(text)
        self.answer = answer


def connect(
    *,
    connections: int,
    count: Count,
    read_seconds: float = READ_SECONDS,
    heard: Callable[[str | None], None] = lambda _: None,
) -> Kube:
    """Kube with the credentials of KUBECONFIG if that is set, else of the pod.

    connections: kept open at most, so at least as many as there are threads that call.
    read_seconds: how long an answer may take.
    heard: told the date of each answer.
    """
    configuration = Configuration()
    configuration.connection_pool_maxsize = connections
    configuration.retries = _RETRIES
    if os.environ.get("KUBECONFIG") or "KUBERNETES_SERVICE_HOST" not in os.environ:
        load_kube_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    else:
        load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
    client = ApiClient(configuration)
    client.user_agent = names.MANAGED_BY
    return Kube(client, count=count, read_seconds=read_seconds, heard=heard)


def _path(kind: str, namespace: str, name: str = "") -> str:
    prefix, plural = _COLLECTIONS[kind]
    return f"{prefix}/namespaces/{namespace}/{plural}" + (f"/{name}" if name else "")


def _query(parameters: Mapping[str, str]) -> str:
    given = {key: value for key, value in parameters.items() if value}
    return f"?{urlencode(given)}" if given else ""


def _parse(method: str, path: str, code: int, content: bytes) -> JsonObject | None:
    if code == 404:
        return None
    try:
        answer: JsonObject = json.loads(content)
    except ValueError:
        answer = {"code": code, "message": content[:500].decode(errors="replace")}
    if code < 300:
        return answer
    text = f"{method} {path}: {code} {answer.get('reason', '')}: {answer.get('message', '')}"
    if is_refusal({"code": code, **answer}):
        raise _Refused(text, answer)
    if code == 409:
        raise Conflict(text)
    raise ApiFailure(text)


def _there(answer: JsonObject | None, manifest: JsonObject) -> JsonObject:
    """404 to a write: its namespace or the object itself is gone."""
    if answer is None:
        raise Conflict(f"{manifest['kind']} {manifest['metadata'].get('name', '')} or its namespace is gone")
    return answer
