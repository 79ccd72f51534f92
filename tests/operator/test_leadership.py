"""The label that sends reports to the leader, and handing the Lease on."""

import threading
from datetime import UTC, datetime

import pytest

from finetune_operator.kube import ApiFailure
from finetune_operator.leadership import leading, pod_of
from finetune_operator.lease import Lease
from finetune_operator.settings import Settings
from tests.operator.fake_kube import FakeKube

LABEL = "embeddings.dev/leader"


class Bench:
    """Pods `a` and `b` of the operator; `a` led until it was killed."""

    def __init__(self) -> None:
        self.kube = FakeKube()
        for name in ("a", "b"):
            self.kube.add({"kind": "Pod", "metadata": {"namespace": "ops", "name": name}})
        self.settings = Settings(namespace="ops", trainer_image="trainer", pod_name="b")
        self.now = 0.0

    def lease(self, pod: str) -> Lease:
        identity = f"{pod}_0000"
        return Lease(self.kube, self.settings, identity, monotonic=lambda: self.now, now=lambda: NOW)  # type: ignore[arg-type]

    def labelled(self) -> list[str]:
        pods = self.kube.list("Pod", "ops", labels=f"{LABEL}=true")
        return [pod["metadata"]["name"] for pod in pods]

    def holder(self) -> str:
        lease = self.kube.get("Lease", "ops", "embedding-finetune-operator")
        assert lease is not None
        return str(lease["spec"]["holderIdentity"])


NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_reports_go_to_the_leader_alone_though_a_killed_one_kept_its_label(bench: Bench) -> None:
    bench.kube.label("Pod", "ops", "a", {LABEL: "true"})
    bench.lease("a").attempt()
    lease = bench.lease("b")
    lease.attempt()
    bench.now += 16
    assert lease.attempt()
    async with leading(lease, bench.settings, bench.kube, threading.Event()):  # type: ignore[arg-type]
        assert bench.labelled() == ["b"]
        assert bench.holder() == "b_0000"
    assert bench.labelled() == []
    assert bench.holder() == ""


async def test_the_lease_is_handed_on_though_the_label_cannot_be_taken_away(bench: Bench) -> None:
    lease = bench.lease("b")
    assert lease.attempt()
    async with leading(lease, bench.settings, bench.kube, threading.Event()):  # type: ignore[arg-type]
        bench.kube.before = _refuse_patches
    assert bench.holder() == ""


def _refuse_patches(verb: str, _kind: str) -> None:
    if verb == "patch":
        raise ApiFailure("planted")


@pytest.mark.parametrize(
    ("identity", "pod"),
    [("operator-7d-x2_6f1e", "operator-7d-x2"), ("somebody-else", ""), ("", "")],
)
def test_the_pod_of_a_holder_is_in_its_identity(identity: str, pod: str) -> None:
    assert pod_of(identity) == pod
