"""Who may report, tried with real tokens on a real API server against the running receiver."""

import base64
import contextlib
import json
import ssl
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from finetune_api import names
from tests.cluster import Cluster
from tests.cluster.waiting import eventually
from tests.operator.conftest import Finetunes
from tests.operator.process import NAMESPACE, Operator

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]  # programs may have to be built first

AUDIENCE = "embeddings.dev/reports"
PROGRESS = {
    "trainerStatus": {
        "progressPercentage": 99,
        "lastUpdatedTime": "2026-01-01T00:00:00Z",
        "metrics": [{"name": "loss", "value": "0.0001"}],
    }
}


@pytest.fixture
def running(operator: Operator, finetunes: Finetunes) -> Finetunes:
    """A finetune `one` whose pod trains."""
    finetunes.apply("hold")
    finetunes.await_that(lambda: finetunes.status().get("progress"), "progress")
    return finetunes


def a_token(finetunes: Finetunes, *, audience: str = AUDIENCE, pod: dict[str, Any] | None = None) -> str:
    """Of the namespace's default account, bound to that pod."""
    bound = {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", **_identity(pod)}} if pod else {}
    path = f"/api/v1/namespaces/{finetunes.namespace}/serviceaccounts/default/token"
    answer = finetunes.client.create(path, {"spec": {"audiences": [audience], **bound}})
    return str(answer["status"]["token"])


def _identity(pod: dict[str, Any]) -> dict[str, str]:
    return {"name": pod["metadata"]["name"], "uid": pod["metadata"]["uid"]}


def post(
    operator: Operator,
    finetunes: Finetunes,
    token: str,
    *,
    name: str = "one",
    body: dict[str, Any] = PROGRESS,
    to: str = "",
) -> tuple[int, str]:
    """Code and message of the receiver's answer. to: path of the finetune if it is another namespace's."""
    authority = finetunes.client.get(f"/api/v1/namespaces/{NAMESPACE}/secrets/embedding-finetune-operator-ca")
    assert authority is not None
    context = ssl.create_default_context(cadata=_decode(authority["data"]["tls.crt"]))
    request = urllib.request.Request(  # noqa: S310 - https, to the operator
        f"{operator.report_url}{to or finetunes.path}/{name}/status",
        json.dumps(body).encode(),
        {"Authorization": f"Bearer {token}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:  # noqa: S310 - as above
            return answer.status, ""
    except urllib.error.HTTPError as error:
        return error.code, str(json.loads(error.read())["message"])


@contextlib.contextmanager
def other_namespace(cluster: Cluster) -> Iterator[str]:
    name = f"other-{uuid.uuid4().hex[:8]}"
    cluster.client.create("/api/v1/namespaces", {"metadata": {"name": name}})
    eventually(
        lambda: cluster.client.get(f"/api/v1/namespaces/{name}/serviceaccounts/default"), "its account"
    )
    yield name
    cluster.client.delete(f"/api/v1/namespaces/{name}")


def _decode(text: str) -> str:
    return base64.b64decode(text).decode()


def test_the_pods_own_token_is_accepted(operator: Operator, running: Finetunes) -> None:
    (pod,) = running.children("pods")
    assert post(operator, running, a_token(running, pod=pod)) == (200, "")


def test_a_token_of_the_same_account_without_the_pod_is_refused(
    operator: Operator, running: Finetunes
) -> None:
    code, message = post(operator, running, a_token(running))
    assert (code, message) == (403, "the token is not bound to a pod")


def test_a_token_for_the_api_server_is_refused(operator: Operator, running: Finetunes) -> None:
    (pod,) = running.children("pods")
    code, message = post(
        operator, running, a_token(running, audience="https://kubernetes.default.svc", pod=pod)
    )
    assert code == 403
    assert "audience" in message


def test_another_pod_of_the_namespace_may_not_report(operator: Operator, running: Finetunes) -> None:
    container = {"name": "main", "image": "any", "command": ["sleep", "60"]}
    pods = f"/api/v1/namespaces/{running.namespace}/pods"
    pod = running.client.create(pods, {"metadata": {"name": "spy"}, "spec": {"containers": [container]}})
    code, message = post(operator, running, a_token(running, pod=pod))
    assert (code, message) == (403, "spy does not belong to a Job")


def test_the_pod_of_another_finetune_may_not_report(operator: Operator, running: Finetunes) -> None:
    running.apply("hold", "two")
    running.await_that(lambda: running.status("two").get("progress"), "progress of two")
    (pod,) = (p for p in running.children("pods") if p["metadata"]["name"].startswith("two-"))
    code, message = post(operator, running, a_token(running, pod=pod))
    assert code == 403
    assert message == f"the token's pod belongs to {running.namespace}/two, not to {running.namespace}/one"


def test_a_token_whose_signature_was_changed_is_refused(operator: Operator, running: Finetunes) -> None:
    (pod,) = running.children("pods")
    head, payload, signature = a_token(running, pod=pod).split(".")
    code, message = post(operator, running, f"{head}.{payload}.{signature[::-1]}")
    assert (code, message) == (403, "the API server does not accept the token")


def test_a_token_that_is_signed_by_nobody_is_refused(operator: Operator, running: Finetunes) -> None:
    (pod,) = running.children("pods")
    _, payload, _ = a_token(running, pod=pod).split(".")
    nobody = _encode(b'{"alg":"none","typ":"JWT"}')
    code, message = post(operator, running, f"{nobody}.{payload}.")
    assert (code, message) == (403, "the API server does not accept the token")


def test_an_expired_token_is_refused(operator: Operator, running: Finetunes, cluster: Cluster) -> None:
    """The API server issues none for less than ten minutes, so this one is signed with its own key."""
    (pod,) = running.children("pods")
    token = a_token(running, pod=pod)
    key = load_pem_private_key((cluster.folder.pki / "service-accounts.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert post(operator, running, _signed(token, key, exp=int(time.time()) + 600)) == (200, "")
    code, message = post(operator, running, _signed(token, key, exp=int(time.time()) - 60))
    assert (code, message) == (403, "the API server does not accept the token")


def test_a_token_signed_by_another_key_is_refused(operator: Operator, running: Finetunes) -> None:
    (pod,) = running.children("pods")
    forged = _signed(a_token(running, pod=pod), ec.generate_private_key(ec.SECP256R1()))
    assert post(operator, running, forged) == (403, "the API server does not accept the token")


def _signed(token: str, key: ec.EllipticCurvePrivateKey, **claims: Any) -> str:
    """The token with other claims, signed anew."""
    head, payload, _ = token.split(".")
    content = {**json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))), **claims}
    said = f"{head}.{_encode(json.dumps(content).encode())}"
    r, s = decode_dss_signature(key.sign(said.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{said}.{_encode(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def test_the_pod_of_another_namespace_may_not_report(
    operator: Operator, running: Finetunes, cluster: Cluster
) -> None:
    with other_namespace(cluster) as name:
        other = Finetunes(cluster, name)
        other.apply("hold")
        other.await_that(lambda: other.status().get("progress"), "progress over there")
        (pod,) = other.children("pods")
        code, message = post(operator, running, a_token(other, pod=pod))
    assert (code, message) == (
        403,
        f"the token's pod belongs to {name}/one, not to {running.namespace}/one",
    )


def test_a_job_that_only_bears_our_labels_does_not_make_its_pod_ours(
    operator: Operator, running: Finetunes
) -> None:
    """Its pod belongs to a Job of that namespace, and that Job to no finetune."""
    (ours,) = running.children("jobs")
    container = {"name": "main", "image": "any", "command": ["sleep", "60"]}
    pod_template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    metadata = {"name": "look-alike", "labels": ours["metadata"]["labels"]}
    jobs = f"/apis/batch/v1/namespaces/{running.namespace}/jobs"
    running.client.create(jobs, {"metadata": metadata, "spec": {"template": pod_template}})
    pods = f"/api/v1/namespaces/{running.namespace}/pods"
    pod = eventually(
        lambda: next(iter(running.client.list(pods, labelSelector="job-name=look-alike")["items"]), None),
        "its pod",
    )
    code, message = post(operator, running, a_token(running, pod=pod))
    assert (code, message) == (403, f"look-alike does not belong to a {names.KIND}")


def test_the_token_of_a_deleted_pod_is_soon_refused(operator: Operator, running: Finetunes) -> None:
    """Though it was let in a moment before, and had ten minutes to go."""
    (pod,) = running.children("pods")
    token = a_token(running, pod=pod)
    assert post(operator, running, token) == (200, "")
    path = f"/api/v1/namespaces/{running.namespace}/pods/{pod['metadata']['name']}"
    running.client.delete(path, {"gracePeriodSeconds": 0})
    started = time.monotonic()
    eventually(lambda: post(operator, running, token)[0] == 403, "the token is refused", seconds=10)
    print(f"refused {time.monotonic() - started:.2f} s after the pod's deletion")


def test_a_finetune_that_is_made_anew_does_not_hear_the_former_ones_pod(
    operator: Operator, running: Finetunes
) -> None:
    """Neither by a token that is remembered nor by another one."""
    (pod,) = running.children("pods")
    token = a_token(running, pod=pod)
    assert post(operator, running, token) == (200, "")
    running.client.delete(f"{running.path}/one", {"propagationPolicy": "Orphan"})  # its pod goes on
    eventually(lambda: running.client.get(f"{running.path}/one") is None, "the former one is gone")
    running.apply("hold")
    new = running.get()["metadata"]["uid"]
    code, message = post(operator, running, token)
    assert (code, message) == (404, f"{running.namespace}/one is gone, or run 1 is over")
    assert post(operator, running, a_token(running, pod=pod))[0] == 403
    assert running.get()["metadata"]["uid"] == new
    assert (running.get().get("status") or {}).get("progress", {}).get("percent") != 99


def test_an_older_report_does_not_take_status_back(operator: Operator, running: Finetunes) -> None:
    (pod,) = running.children("pods")
    token, now = a_token(running, pod=pod), datetime.now(UTC)

    def said(step: int, at: datetime) -> dict[str, Any]:
        metrics = [{"name": "current_step", "value": str(step)}]
        return {
            "trainerStatus": {
                "progressPercentage": step,
                "lastUpdatedTime": at.isoformat(),
                "metrics": metrics,
            }
        }

    assert post(operator, running, token, body=said(99, now)) == (200, "")
    running.await_that(lambda: running.status()["progress"]["step"] == 99, "its progress in status")
    older = said(5, now - timedelta(seconds=30))
    assert post(operator, running, token, body=older) == (200, "")
    done = "embedding_finetune_progress_ratio"
    labels = f'{{namespace="{running.namespace}",embeddingfinetune="one"}}'
    assert operator.metric(f"{done}{labels}") == 0.99


def test_refused_reports_change_nothing_and_are_counted(operator: Operator, running: Finetunes) -> None:
    counted = 'embedding_finetune_operator_status_report_requests_total{code="403"}'
    before = operator.metric(counted) or 0
    post(operator, running, a_token(running))
    assert operator.metric(counted) == before + 1
    labels = f'{{namespace="{running.namespace}",embeddingfinetune="one"}}'
    assert operator.metric(f"embedding_finetune_training_loss{labels}") not in {None, 0.0001}
