"""Two replicas, one of which is killed or stopped: the other one leads soon, and nothing is done twice."""

import functools
import signal
import statistics
import time

import pytest

from tests.cluster.waiting import eventually
from tests.ha.replicas import Deployment, seconds_until
from tests.operator.conftest import Finetunes
from tests.operator.process import QUICK_LEASE

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(1800)]

REPETITIONS = 3
FAILOVER_SECONDS = 20.0
LOST = 3


def test_after_the_leader_is_killed_the_other_one_acts_within_twenty_seconds(
    operators: Deployment, finetunes: Finetunes
) -> None:
    """From SIGKILL to the Job of a finetune that was applied just after it."""
    leader, standby = operators.start_leader(), operators.start()
    finetunes.make_claim("models")
    finetunes.apply("wait_for_a_file", "running", output_uri="pvc://models/one")
    finetunes.await_that(lambda: finetunes.status("running").get("progress"), "progress")
    took = []
    for number in range(REPETITIONS):
        name = f"after-{number}"
        leader.operator.kill()
        killed = time.monotonic()
        finetunes.apply("hold", name)
        eventually(functools.partial(_job, finetunes, name), "the Job", seconds=60)
        took.append(time.monotonic() - killed)
        assert operators.service.endpoints().keys() == {standby.name}
        leader, standby = standby, operators.start()
    print(
        f"fail-over after SIGKILL, {REPETITIONS} times: min {min(took):.1f} s, median"
        f" {statistics.median(took):.1f} s, max {max(took):.1f} s"
    )
    assert max(took) <= FAILOVER_SECONDS
    finetunes.await_that(
        lambda: leader.operator.metric(_live(finetunes, "running")),
        "the running pod reports to the new leader",
    )
    assert len(finetunes.children("jobs")) == REPETITIONS + 1
    assert finetunes.status("running")["run"]["attempt"] == 1


def test_a_leader_that_was_stopped_for_longer_than_the_lease_ends_and_never_acts_again(
    operators: Deployment, finetunes: Finetunes
) -> None:
    """It is stopped in the middle of its work for 30 finetunes."""
    old, new = operators.start_leader(), operators.start()
    for number in range(30):
        finetunes.apply("hold", f"f-{number}")
    eventually(lambda: len(old.writes()) > 20, "the leader is at work")
    old.signal(signal.SIGSTOP)
    took = seconds_until(new.leads, "the other one leads")
    print(f"fail-over after SIGSTOP: {took:.1f} s")
    _all_have_one_job(finetunes, 30)
    woken = time.monotonic()
    old.signal(signal.SIGCONT)
    assert old.wait(5) == LOST
    assert old.writes(since=woken) == []
    assert took <= FAILOVER_SECONDS
    assert operators.service.endpoints().keys() == {new.name}


def test_nothing_is_done_twice_when_the_leader_is_killed_amid_fifty_finetunes(
    operators: Deployment, finetunes: Finetunes
) -> None:
    old = operators.start_leader(QUICK_LEASE)
    operators.start(QUICK_LEASE)
    for number in range(50):
        finetunes.apply("succeed", f"f-{number}")
    eventually(lambda: len(old.writes()) > 60, "the leader is at work")
    old.operator.kill()
    _all_have_one_job(finetunes, 50)
    for number in range(50):
        finetunes.await_condition("Ready", "True", name=f"f-{number}", seconds=120)
        run = finetunes.status(f"f-{number}")["run"]
        assert (run["number"], run["attempt"]) == (1, 1)


def test_a_final_report_that_nobody_could_take_is_found_in_the_pod(
    operators: Deployment, finetunes: Finetunes
) -> None:
    """The pod ends, and all its tries with it, while nobody leads."""
    old = operators.start_leader()
    operators.start()
    folder = finetunes.make_claim("models")
    finetunes.apply("wait_for_a_file", output_uri="pvc://models/one")
    finetunes.await_that(lambda: finetunes.status().get("progress"), "progress")
    old.operator.kill()
    (folder / "go").touch()
    finetunes.await_that(
        lambda: [p for p in finetunes.children("pods") if p["status"]["phase"] == "Succeeded"], "its end"
    )
    assert finetunes.status()["phase"] != "Ready"
    finetunes.await_condition("Ready", "True")
    status = finetunes.status()
    assert (status["run"]["attempt"], status["artifact"]["run"]) == (1, 1)
    assert status["evaluation"]["primary"]["tuned"] == "0.72"


def _job(finetunes: Finetunes, name: str) -> bool:
    return any(job["metadata"]["name"].startswith(f"{name}-") for job in finetunes.children("jobs"))


def _all_have_one_job(finetunes: Finetunes, count: int) -> None:
    finetunes.await_that(lambda: len(finetunes.children("jobs")) >= count, "all Jobs", seconds=120)
    assert len(finetunes.children("jobs")) == count


def _live(finetunes: Finetunes, name: str) -> str:
    labels = f'{{namespace="{finetunes.namespace}",embeddingfinetune="{name}"}}'
    return f"embedding_finetune_last_progress_timestamp_seconds{labels}"
