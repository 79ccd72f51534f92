"""From a token to the run it belongs to."""

import base64
import json
from typing import Any

import pytest

from finetune_operator.identity import MAX_CACHED_SECONDS, NotAllowed, Sender, Senders
from finetune_operator.memory import Key
from tests.operator.fake_kube import FakeKube

AUDIENCE = "embeddings.dev/reports"
NOW = 1_000_000.0
MADE = "2026-01-01T00:00:00Z"


def a_token(**claims: Any) -> str:
    payload = json.dumps({"aud": [AUDIENCE], "exp": NOW + 3600, **claims}).encode()
    return f"header.{base64.urlsafe_b64encode(payload).decode().rstrip('=')}.signature"


TOKEN = a_token()
NESTED = f"a.{base64.urlsafe_b64encode(b'[' * 6000).decode()}.c"


def owned(kind: str, name: str, uid: str, by: tuple[str, str, str] | None, **labels: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {"namespace": "team", "name": name, "uid": uid, "labels": labels}
    if by is not None:
        metadata["ownerReferences"] = [{"kind": by[0], "name": by[1], "uid": by[2], "controller": True}]
    return {"kind": kind, "metadata": {**metadata, "creationTimestamp": MADE}}


def a_review(**user: Any) -> dict[str, Any]:
    extra = {
        "authentication.kubernetes.io/pod-name": ["one-1-abc"],
        "authentication.kubernetes.io/pod-uid": ["pod-1"],
    }
    who = {"username": "system:serviceaccount:team:default", "extra": extra, **user}
    return {"authenticated": True, "audiences": [AUDIENCE], "user": who}


class Bench:
    """A cluster in which pod one-1-abc belongs to run 1 of team/one."""

    def __init__(self) -> None:
        self.now = NOW
        self.step = 0.0
        """By how much the wall clock was set back."""
        self.kube = FakeKube()
        self.kube.reviews[TOKEN] = a_review()
        self.kube.add(owned("Pod", "one-1-abc", "pod-1", ("Job", "one-1", "job-1")))
        job = owned("Job", "one-1", "job-1", ("EmbeddingFinetune", "one", "u1"))
        job["metadata"]["labels"] = {"embeddings.dev/run": "1"}
        self.kube.add(job)
        kube: Any = self.kube
        self.senders = Senders(kube, AUDIENCE, now=lambda: self.now, monotonic=lambda: self.now + self.step)

    def identify(self, token: str = TOKEN) -> Sender:
        """As the receiver does it."""
        return self.senders.recall(token) or self.senders.identify(token)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_pods_token_leads_to_its_run(bench: Bench) -> None:
    assert bench.identify() == Sender(Key("team", "one"), "u1", 1, "pod-1", (MADE, "one-1-abc"))


def test_a_known_token_costs_no_request_until_it_is_due(bench: Bench) -> None:
    bench.identify()
    bench.kube.requests.clear()
    bench.now += MAX_CACHED_SECONDS - 1
    bench.identify()
    assert bench.kube.requests == []
    bench.now += 2
    bench.identify()
    assert bench.kube.requests


def test_a_token_is_not_remembered_beyond_its_own_end(bench: Bench) -> None:
    short = a_token(exp=NOW + 10)
    bench.kube.reviews[short] = a_review()
    bench.identify(short)
    bench.now += 11
    bench.kube.reviews.clear()
    with pytest.raises(NotAllowed, match="does not accept"):
        bench.identify(short)


@pytest.mark.parametrize("step", [-7200, 7200])
def test_a_clock_that_is_wrong_costs_requests_and_refuses_nobody(bench: Bench, step: float) -> None:
    """Whether a token has expired is for the API server to say; how long it is remembered is not its time."""
    bench.now, bench.step = NOW + step, -step
    assert bench.identify().run == 1
    bench.now += MAX_CACHED_SECONDS + 1
    assert bench.senders.recall(TOKEN) is None


def test_the_token_of_a_deleted_pod_is_asked_about_anew(bench: Bench) -> None:
    bench.identify()
    bench.senders.pod_gone("another")
    bench.kube.requests.clear()
    bench.identify()
    assert bench.kube.requests == []
    bench.senders.pod_gone("pod-1")
    bench.kube.reviews.clear()
    with pytest.raises(NotAllowed, match="does not accept"):
        bench.identify()


def test_a_pod_that_is_deleted_while_its_token_is_looked_up_is_not_remembered(bench: Bench) -> None:
    def delete(verb: str, kind: str) -> None:
        if (verb, kind) == ("get", "Job"):
            bench.senders.pod_gone("pod-1")

    bench.kube.before = delete
    bench.identify()
    assert bench.senders.recall(TOKEN) is None


def test_a_refused_token_is_not_remembered(bench: Bench) -> None:
    good = bench.kube.reviews.pop(TOKEN)
    with pytest.raises(NotAllowed):
        bench.identify()
    bench.kube.reviews[TOKEN] = good
    assert bench.identify().run == 1


@pytest.mark.parametrize(
    ("token", "message"),
    [
        pytest.param("", "not a service-account token", id="empty"),
        pytest.param("secret", "not a service-account token", id="no JWT"),
        pytest.param("a.%%%.c", "not a service-account token", id="not base64"),
        pytest.param(f"a.{'b' * 10_000}.c", "not a service-account token", id="huge"),
        pytest.param(NESTED, "not a service-account token", id="nested deeply"),
        pytest.param(a_token(exp="soon"), "not a service-account token", id="no expiry"),
        pytest.param(a_token(aud=["https://kubernetes.default.svc"]), "audience", id="the API server's"),
    ],
)
def test_what_cannot_be_our_token_is_refused_without_a_request(
    bench: Bench, token: str, message: str
) -> None:
    with pytest.raises(NotAllowed, match=message) as raised:
        bench.identify(token)
    assert bench.kube.requests == []
    assert not token or token not in str(raised.value)


def test_a_token_that_the_api_server_does_not_know_is_refused(bench: Bench) -> None:
    with pytest.raises(NotAllowed, match="does not accept"):
        bench.identify(a_token(jti="forged"))


def test_a_token_reviewed_for_another_audience_is_refused(bench: Bench) -> None:
    bench.kube.reviews[TOKEN]["audiences"] = ["https://kubernetes.default.svc"]
    with pytest.raises(NotAllowed, match="does not accept"):
        bench.identify()


@pytest.mark.parametrize(
    "user",
    [
        pytest.param({"extra": {}}, id="no pod"),
        pytest.param({"username": "admin"}, id="a person"),
    ],
)
def test_a_token_without_a_pod_is_refused(bench: Bench, user: dict[str, Any]) -> None:
    bench.kube.reviews[TOKEN] = a_review(**user)
    with pytest.raises(NotAllowed, match="not bound to a pod"):
        bench.identify()


def test_a_pod_of_the_same_name_but_another_uid_is_refused(bench: Bench) -> None:
    bench.kube.add(owned("Pod", "one-1-abc", "pod-2", ("Job", "one-1", "job-1")))
    with pytest.raises(NotAllowed, match="Pod team/one-1-abc is gone"):
        bench.identify()


def test_a_pod_of_no_job_is_refused(bench: Bench) -> None:
    bench.kube.add(owned("Pod", "one-1-abc", "pod-1", None))
    with pytest.raises(NotAllowed, match="does not belong to a Job"):
        bench.identify()


def test_a_job_of_the_same_name_but_another_uid_is_refused(bench: Bench) -> None:
    bench.kube.add(owned("Job", "one-1", "job-2", ("EmbeddingFinetune", "one", "u1")))
    with pytest.raises(NotAllowed, match="Job team/one-1 is gone"):
        bench.identify()


def test_a_job_that_only_looks_like_ours_is_refused(bench: Bench) -> None:
    bench.kube.add(owned("Job", "one-1", "job-1", None))
    with pytest.raises(NotAllowed, match="does not belong to a EmbeddingFinetune"):
        bench.identify()


def test_a_job_without_a_run_number_is_refused(bench: Bench) -> None:
    bench.kube.add(owned("Job", "one-1", "job-1", ("EmbeddingFinetune", "one", "u1")))
    with pytest.raises(NotAllowed, match="no run number"):
        bench.identify()
