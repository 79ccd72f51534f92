"""Who may report, tried with real tokens on a real API server against the running receiver."""

import base64
import json
import ssl
import urllib.error
import urllib.request
from typing import Any

import pytest

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


def post(operator: Operator, finetunes: Finetunes, token: str, *, name: str = "one") -> tuple[int, str]:
    """Code and message of the receiver's answer."""
    authority = finetunes.client.get(f"/api/v1/namespaces/{NAMESPACE}/secrets/embedding-finetune-operator-ca")
    assert authority is not None
    context = ssl.create_default_context(cadata=_decode(authority["data"]["tls.crt"]))
    request = urllib.request.Request(  # noqa: S310 - https, to the operator
        f"{operator.report_url}{finetunes.path}/{name}/status",
        json.dumps(PROGRESS).encode(),
        {"Authorization": f"Bearer {token}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:  # noqa: S310 - as above
            return answer.status, ""
    except urllib.error.HTTPError as error:
        return error.code, str(json.loads(error.read())["message"])


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


def test_refused_reports_change_nothing_and_are_counted(operator: Operator, running: Finetunes) -> None:
    counted = 'embedding_finetune_operator_status_report_requests_total{code="403"}'
    before = operator.metric(counted) or 0
    post(operator, running, a_token(running))
    assert operator.metric(counted) == before + 1
    labels = f'{{embeddingfinetune="one",namespace="{running.namespace}"}}'
    assert operator.metric(f"embedding_finetune_training_loss{labels}") != 0.0001
