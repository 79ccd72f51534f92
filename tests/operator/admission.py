"""Policies and webhooks that refuse, change, or do not answer, each for one namespace."""

import base64
import contextlib
import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from typing_extensions import override

from tests.cluster.certificates import Authority, Identity
from tests.cluster.client import Client

API = "/apis/admissionregistration.k8s.io/v1"
REFUSAL = "not on a Sunday"
# As a service mesh's: it may what Pod Security `restricted` lets nobody do.
SIDECAR = {
    "name": "mesh", "image": "mesh", "securityContext": {"capabilities": {"add": ["NET_ADMIN"]}},
}  # fmt: skip


def refuse_by_policy(client: Client, namespace: str, group: str, resource: str) -> None:
    """A ValidatingAdmissionPolicy that refuses whatever is made of that resource."""
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": _rules(group, resource)},
        "validations": [{"expression": "false", "message": REFUSAL}],
    }
    client.create(f"{API}/validatingadmissionpolicies", {"metadata": {"name": namespace}, "spec": spec})
    binding = {
        "policyName": namespace,
        "validationActions": ["Deny"],
        "matchResources": {"namespaceSelector": _only(namespace)},
    }
    path = f"{API}/validatingadmissionpolicybindings"
    client.create(path, {"metadata": {"name": namespace}, "spec": binding})


def register(
    client: Client,
    namespace: str,
    group: str,
    resource: str,
    *,
    config: dict[str, str],
    mutating: bool = False,
) -> None:
    """A webhook at that place."""
    kind = "mutating" if mutating else "validating"
    webhook = {
        "name": f"{kind}.example.com",
        "rules": _rules(group, resource),
        "sideEffects": "None",
        "timeoutSeconds": 1,
        "admissionReviewVersions": ["v1"],
        "clientConfig": config,
        "namespaceSelector": _only(namespace),
    }
    path = f"{API}/{kind}webhookconfigurations"
    client.create(path, {"metadata": {"name": namespace}, "webhooks": [webhook]})


def remove(client: Client, namespace: str) -> None:
    """All of it for that namespace."""
    for kind in (
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
        "validatingwebhookconfigurations",
        "mutatingwebhookconfigurations",
    ):
        client.delete(f"{API}/{kind}/{namespace}")


@dataclass(frozen=True)
class Webhooks:
    """Where they are served, and what proves it."""

    address: str
    ca_bundle: str

    def config(self, path: str) -> dict[str, str]:
        """clientConfig of `refuse` or `add-sidecar`."""
        return {"url": f"{self.address}/{path}", "caBundle": self.ca_bundle}


DEAF = {"url": "https://127.0.0.1:1/"}
"""clientConfig of a webhook that does not answer."""


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[Webhooks]:
    """Webhooks on this machine for as long as the context lasts."""
    authority = Authority(folder)
    authority.issue(Identity("webhook", "webhook", hosts=("127.0.0.1",)))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "webhook.crt", folder / "webhook.key")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        bundle = base64.b64encode((folder / "ca.crt").read_bytes()).decode()
        yield Webhooks(f"https://127.0.0.1:{server.server_port}", bundle)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        response = {"uid": review["request"]["uid"], **_ANSWERS[self.path.partition("?")[0].strip("/")]}
        body = json.dumps(
            {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
        )
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: tests are quiet."""


def _patch(operations: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "allowed": True,
        "patchType": "JSONPatch",
        "patch": base64.b64encode(json.dumps(operations).encode()).decode(),
    }


# 409 stands for any code: a webhook chooses it.
_ANSWERS: dict[str, dict[str, Any]] = {
    "refuse": {"allowed": False, "status": {"code": 409, "message": REFUSAL}},
    "add-sidecar": _patch([{"op": "add", "path": "/spec/containers/-", "value": SIDECAR}]),
}


def _rules(group: str, resource: str) -> list[dict[str, list[str]]]:
    return [{"apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": [resource]}]


def _only(namespace: str) -> dict[str, dict[str, str]]:
    return {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
