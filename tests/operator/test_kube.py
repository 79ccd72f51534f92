"""What becomes of the API server's answers."""

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from kubernetes.client.api_client import ApiClient
from kubernetes.client.configuration import Configuration
from urllib3.exceptions import MaxRetryError, ReadTimeoutError

from finetune_operator.errors import Stalled, Waiting
from finetune_operator.kube import ApiFailure, Conflict, Kube

JOB = {"kind": "Job", "apiVersion": "batch/v1", "metadata": {"name": "one-1", "namespace": "team"}}


DATE = "Sun, 01 Mar 2026 12:00:00 GMT"


class FakeClient:
    """The part of the client library that `Kube` uses; answers as told and keeps what was asked."""

    def __init__(self, *answers: tuple[int, Any] | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str, dict[str, str], Any]] = []
        self.default_headers = {"User-Agent": "test"}
        self.configuration = SimpleNamespace(host="https://api")

    def update_params_for_auth(self, headers: dict[str, str], *_: Any) -> None:
        headers["Authorization"] = "Bearer secret"

    def call_api(self, method: str, url: str, headers: dict[str, str], body: Any, **_: Any) -> Any:
        self.asked.append((method, url, headers, body))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        content = answer[1] if isinstance(answer[1], bytes) else json.dumps(answer[1]).encode()
        return SimpleNamespace(
            status=answer[0], response=SimpleNamespace(data=content, headers={"Date": DATE})
        )


def a_kube(*answers: tuple[int, Any] | Exception) -> tuple[Kube, FakeClient, list[tuple[str, str, str]]]:
    client, counted = FakeClient(*answers), list[tuple[str, str, str]]()
    kube = Kube(client, count=lambda verb, kind, code, _: counted.append((verb, kind, code)), read_seconds=30)  # type: ignore[arg-type]
    return kube, client, counted


def a_status(code: int, reason: str = "", message: str = "", **more: Any) -> tuple[int, dict[str, Any]]:
    return code, {"kind": "Status", "code": code, "reason": reason, "message": message, **more}


def test_each_answer_tells_the_time() -> None:
    heard: list[str | None] = []
    kube = Kube(FakeClient((200, {})), count=lambda *_: None, read_seconds=30, heard=heard.append)  # type: ignore[arg-type]
    kube.fenced(lambda: True).get("Job", "team", "one-1")
    assert heard == [DATE]


def test_an_object_that_is_not_there_is_none() -> None:
    kube, client, counted = a_kube(a_status(404, "NotFound"))
    assert kube.get("Job", "team", "one-1") is None
    assert client.asked[0][:2] == ("GET", "https://api/apis/batch/v1/namespaces/team/jobs/one-1")
    assert counted == [("get", "Job", "404")]


def test_a_replica_that_does_not_lead_reads_and_does_not_write() -> None:
    kube, client, _ = a_kube((200, JOB))
    fenced = kube.fenced(lambda: False)
    assert fenced.get("Job", "team", "one-1") == JOB
    for write in (
        lambda: fenced.create(JOB),
        lambda: fenced.replace(JOB),
        lambda: fenced.put_status(JOB),
        lambda: fenced.delete("Job", "team", "one-1", uid="u"),
    ):
        with pytest.raises(ApiFailure, match="no longer leads"):
            write()
    assert len(client.asked) == 1


def test_lists_are_read_in_pages() -> None:
    first = {"items": [{"n": 1}], "metadata": {"continue": "more"}}
    kube, client, _ = a_kube((200, first), (200, {"items": [{"n": 2}], "metadata": {}}))
    assert kube.list("Pod", "team", labels="a=b") == ({"kind": "Pod", "n": 1}, {"kind": "Pod", "n": 2})
    assert "labelSelector=a%3Db" in client.asked[0][1]
    assert "continue=more" in client.asked[1][1]


def test_writes_carry_the_field_manager() -> None:
    kube, client, _ = a_kube((201, JOB))
    kube.create(JOB)
    assert client.asked[0][1].endswith("/jobs?fieldManager=embedding-finetune-operator")


def test_a_delete_is_for_one_uid_and_waits_for_dependents() -> None:
    kube, client, _ = a_kube((200, {}))
    kube.delete("Job", "team", "one-1", uid="u1")
    assert client.asked[0][3] == {"propagationPolicy": "Foreground", "preconditions": {"uid": "u1"}}


def test_deleting_what_is_gone_is_fine() -> None:
    kube, _, _ = a_kube(a_status(404))
    kube.delete("Job", "team", "one-1", uid="u1")


def test_a_status_goes_to_its_own_path_with_its_version() -> None:
    finetune = {
        "kind": "EmbeddingFinetune",
        "metadata": {"name": "one", "namespace": "team", "resourceVersion": "7"},
    }
    kube, client, _ = a_kube((200, finetune))
    kube.put_status(finetune)
    method, url, _, body = client.asked[0]
    assert method == "PUT"
    assert url.split("?")[0].endswith("/namespaces/team/embeddingfinetunes/one/status")
    assert body["metadata"]["resourceVersion"] == "7"


def test_a_label_is_merged_and_null_removes_it() -> None:
    kube, client, _ = a_kube((200, {}))
    kube.label("Pod", "ops", "operator-1", {"embeddings.dev/leader": None})
    _, _, headers, body = client.asked[0]
    assert headers["Content-Type"] == "application/merge-patch+json"
    assert body == {"metadata": {"labels": {"embeddings.dev/leader": None}}}


@pytest.mark.parametrize("content_type", ["application/json", "application/merge-patch+json"])
def test_the_client_library_writes_a_body_as_json_once(
    content_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tried with the library itself: under which types it does has changed before."""
    configuration = Configuration()
    configuration.host = "http://127.0.0.1"
    client = ApiClient(configuration)
    sent: list[str] = []

    def request(*_: Any, body: str, **__: Any) -> Any:
        sent.append(body)
        return SimpleNamespace(status=200, reason="OK", data=b"{}", headers={})

    monkeypatch.setattr(client.rest_client.pool_manager, "request", request)
    kube = Kube(client, count=lambda *_: None, read_seconds=1)
    if content_type == "application/json":
        kube.create(JOB)
    else:
        kube.label("Pod", "ops", "operator-1", {"a": "b"})
    assert isinstance(json.loads(sent[0]), dict)


CREATE, GET, PUT = "create", "get", "put"
QUOTA = 'jobs.batch "one-1" is forbidden: exceeded quota: none, requested: count/jobs.batch=1'
TERMINATING = {
    "details": {"causes": [{"reason": "NamespaceTerminating", "message": "team is being terminated"}]}
}
POLICY = "ValidatingAdmissionPolicy 'images' with binding 'all' denied request: unsigned"
DEAF = 'Internal error occurred: failed calling webhook "policy.example.com": Post "https://p": refused'
WEBHOOK = 'admission webhook "policy.example.com" denied the request: no'


@pytest.mark.parametrize(
    ("answer", "error", "reason"),
    [
        pytest.param(a_status(403, "Forbidden", QUOTA), Waiting, "QuotaExceeded", id="quota"),
        pytest.param(
            a_status(403, "Forbidden", "going", **TERMINATING), Waiting, "NamespaceTerminating", id="going"
        ),
        pytest.param(
            a_status(403, "Forbidden", "not on a Sunday"), Waiting, "AdmissionDenied", id="forbidden"
        ),
        pytest.param(a_status(403, "Forbidden", WEBHOOK), Waiting, "WebhookDenied", id="webhook"),
        pytest.param(a_status(409, "Conflict", WEBHOOK), Waiting, "WebhookDenied", id="webhook of any code"),
        pytest.param(a_status(500, "InternalError", DEAF), Waiting, "WebhookUnreachable", id="deaf webhook"),
        pytest.param(a_status(422, "Invalid", POLICY), Waiting, "PolicyDenied", id="policy"),
        pytest.param(
            a_status(422, "Invalid", "spec.template: bad"), Stalled, "InvalidManifest", id="invalid"
        ),
    ],
)
def test_a_refusal_to_create_says_who_must_act(
    answer: tuple[int, Any], error: type[Waiting | Stalled], reason: str
) -> None:
    kube, _, _ = a_kube(answer)
    with pytest.raises(error) as raised:
        kube.create(JOB)
    assert isinstance(raised.value, Waiting | Stalled)
    assert raised.value.reason == reason
    assert "Job one-1" in raised.value.message
    assert "You: " in raised.value.message or "Platform team: " in raised.value.message


@pytest.mark.parametrize(
    "call", [lambda k: k.create(JOB), lambda k: k.put_status(JOB)], ids=["create", "put"]
)
def test_409_is_a_conflict(call: Callable[[Kube], Any]) -> None:
    kube, _, _ = a_kube(a_status(409, "Conflict", "the object has been modified"))
    with pytest.raises(Conflict, match="has been modified"):
        call(kube)


def test_writing_the_status_of_what_is_gone_is_a_conflict() -> None:
    kube, _, _ = a_kube(a_status(404))
    with pytest.raises(Conflict, match="gone"):
        kube.put_status(JOB)


@pytest.mark.parametrize("code", [401, 403, 410, 429, 500, 503, 504])
def test_every_other_answer_is_a_failure_to_try_again_after(code: int) -> None:
    kube, _, counted = a_kube(a_status(code, "Reason", "text"))
    with pytest.raises(ApiFailure, match=f"{code} Reason: text"):
        kube.get("Job", "team", "one-1")
    assert counted == [("get", "Job", str(code))]


@pytest.mark.parametrize(
    "error",
    [
        MaxRetryError(None, "/", ConnectionRefusedError("refused")),  # type: ignore[arg-type]
        ReadTimeoutError(None, "/", "timed out"),  # type: ignore[arg-type]
        ConnectionResetError("reset"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_no_answer_is_a_failure_too(error: Exception) -> None:
    kube, _, counted = a_kube(error)
    with pytest.raises(ApiFailure, match="no answer"):
        kube.get("Job", "team", "one-1")
    assert counted == [("get", "Job", "error")]


def test_an_answer_that_is_no_json_is_quoted() -> None:
    kube, _, _ = a_kube((502, b"<html>Bad Gateway</html>"))
    with pytest.raises(ApiFailure, match="Bad Gateway"):
        kube.get("Job", "team", "one-1")


def test_no_error_repeats_the_credentials() -> None:
    kube, _, _ = a_kube(a_status(401, "Unauthorized", "Unauthorized"))
    with pytest.raises(ApiFailure) as raised:
        kube.review_token("the-token", "audience")
    assert "the-token" not in str(raised.value)
    assert "secret" not in str(raised.value)


def test_the_resource_is_looked_for_by_discovery() -> None:
    kube, _, _ = a_kube((200, {"resources": [{"name": "embeddingfinetunes"}]}), a_status(404))
    assert kube.has_finetunes()
    assert not kube.has_finetunes()
