"""What goes on meanwhile: upgrades, an API server that is away, clocks that step, a new authority."""

import contextlib
import shutil
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.controlplane import REPOSITORY
from tests.cluster.waiting import eventually
from tests.ha.replicas import LEASE, Deployment, Replica, seconds_until
from tests.operator.conftest import Finetunes
from tests.operator.process import NAMESPACE, QUICK_LEASE, RELEASE

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(1800)]

SECRET = f"/api/v1/namespaces/{NAMESPACE}/secrets/{RELEASE}-ca"
LOST = 3
RUNNING = 3


class Runs:
    """Finetunes that train until they are let go."""

    def __init__(self, operators: Deployment, finetunes: Finetunes) -> None:
        self.operators = operators
        self.finetunes = finetunes
        self.folder = finetunes.make_claim("models")
        self.names = [f"run-{number}" for number in range(RUNNING)]
        for name in self.names:
            finetunes.apply("wait_for_a_file", name, output_uri="pvc://models/one")
        self.await_progress()
        self.pods = self._pods()

    def await_progress(self) -> None:
        """Until the leader has heard each of them twice more."""
        heard: dict[str, set[float]] = {name: set() for name in self.names}

        def probe() -> bool:
            if (leader := self.operators.leader()) is None:
                return False
            for name, times in heard.items():
                times.update(filter(None, [leader.operator.metric(self._last_report(name))]))
            return all(len(times) > 2 for times in heard.values())

        self.finetunes.await_that(probe, "all are heard", seconds=90)

    def end(self) -> None:
        """All come to their ends, by the pods they had."""
        (self.folder / "go").touch()
        for name in self.names:
            self.finetunes.await_condition("Ready", "True", name=name, seconds=90)
            run = self.finetunes.status(name)["run"]
            assert (run["number"], run["attempt"]) == (1, 1)
        assert self._pods() == self.pods
        assert len(self.finetunes.children("jobs")) == RUNNING

    def _last_report(self, name: str) -> str:
        labels = f'{{namespace="{self.finetunes.namespace}",embeddingfinetune="{name}"}}'
        return f"embedding_finetune_last_progress_timestamp_seconds{labels}"

    def _pods(self) -> set[str]:
        return {pod["metadata"]["uid"] for pod in self.finetunes.children("pods")}


def test_a_rolling_upgrade_neither_restarts_nor_holds_up_what_runs(
    operators: Deployment, finetunes: Finetunes, tmp_path: Path
) -> None:
    """From an operator that calls itself 0.0.1 to this one, as a Deployment does it."""
    old = operators.start_leader(command=_former_version(tmp_path))
    assert '"version": "0.0.1"' in old.operator.log.read_text()
    runs = Runs(operators, finetunes)
    new = operators.start()
    code, _ = old.terminate()
    took = seconds_until(new.leads, "the new one leads")
    print(f"rolling upgrade: the new one leads {took:.1f} s after the old one's end")
    assert code == 0
    runs.await_progress()
    runs.end()


def test_an_api_server_that_is_away_costs_nothing_but_time(
    operators: Deployment, finetunes: Finetunes
) -> None:
    """For five seconds, and the leader stays; for longer than the Lease, and it ends itself."""
    leader, standby = operators.start_leader(), operators.start()
    runs, transitions = Runs(operators, finetunes), _transitions(operators)
    with _away(leader, standby):
        _pass(5)
    runs.await_progress()
    assert leader.leads()
    assert not standby.leads()
    assert _transitions(operators) == transitions
    with _away(leader, standby):
        assert leader.wait(30) == LOST
    took = seconds_until(standby.leads, "the other one leads")
    print(f"the API server is back: the other one leads after {took:.1f} s")
    assert took <= 20
    runs.await_progress()
    runs.end()


def test_a_wall_clock_that_steps_changes_neither_leader_nor_reports(
    operators: Deployment, finetunes: Finetunes, tmp_path: Path
) -> None:
    """Of both replicas, an hour ahead and then an hour back, each for longer than the Lease lasts."""
    clock = tmp_path / "clock"
    clock.write_text("0")
    settings = {**QUICK_LEASE, "TEST_CLOCK_FILE": str(clock)}
    leader = operators.start_leader(settings, command=WITH_CLOCK)
    standby = operators.start(settings, command=WITH_CLOCK)
    runs, transitions = Runs(operators, finetunes), _transitions(operators)
    for step in (3600, -3600):
        clock.write_text(str(step))
        _pass(8)
        renewed = datetime.fromisoformat(_lease(operators)["renewTime"])
        assert abs((renewed - datetime.now(UTC)).total_seconds() - step) < 60
        runs.await_progress()
    assert leader.leads()
    assert not standby.leads()
    assert _transitions(operators) == transitions
    runs.end()


def test_the_next_leader_has_the_same_authority_and_without_it_a_new_one_that_loses_no_result(
    operators: Deployment, finetunes: Finetunes
) -> None:
    """Pods that trust the authority of before cannot report to one that was made anew."""
    first = operators.start_leader()
    runs = Runs(operators, finetunes)
    before = _authority(operators)
    second = operators.start()
    first.terminate()
    second.operator.await_leading()
    runs.await_progress()
    assert _authority(operators) == before
    operators.cluster.client.patch(SECRET, {"data": {"tls.crt": "bm90aGluZw==", "tls.key": None}})
    third = operators.start()
    second.terminate()
    third.operator.await_leading()
    assert _authority(operators) != before
    assert "cannot be used and is replaced" in third.operator.log.read_text()
    runs.end()


@contextlib.contextmanager
def _away(*replicas: Replica) -> Iterator[None]:
    """The API server refuses their connections."""
    for replica in replicas:
        replica.proxy.go_away()
    yield
    for replica in replicas:
        replica.proxy.come_back()


def _pass(seconds: float) -> None:
    end = time.monotonic() + seconds
    eventually(lambda: time.monotonic() > end, f"{seconds:g} s pass", seconds=seconds + 10)


def _transitions(operators: Deployment) -> int:
    return int(_lease(operators)["leaseTransitions"])


def _lease(operators: Deployment) -> dict[str, Any]:
    lease = operators.cluster.client.get(LEASE)
    assert lease is not None
    return dict(lease["spec"])


def _authority(operators: Deployment) -> str:
    secret = operators.cluster.client.get(SECRET)
    assert secret is not None
    return str(secret["data"]["tls.crt"])


WITH_CLOCK = (
    sys.executable,
    "-c",
    "from tests.faults import clock; clock.install(); from finetune_operator.main import cli; cli()",
)


def _former_version(folder: Path) -> tuple[str, ...]:
    """A command that runs this code, installed as if from the wheel of an earlier version."""
    site = folder / "site"
    for package in ("crds/finetune_api", "operator/finetune_operator"):
        shutil.copytree(REPOSITORY / package, site / Path(package).name)
    about = site / "embedding_finetune_operator-0.0.1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: embedding-finetune-operator\nVersion: 0.0.1\n"
    )
    run = f"import sys; sys.path.insert(0, {str(site)!r}); from finetune_operator.main import cli; cli()"
    return sys.executable, "-c", run
