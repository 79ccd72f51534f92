"""Finetunes in a queue of the real Kueue: held back, let in, pre-empted, and let in again."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.kueue.conftest import QUEUE, URGENT
from tests.operator.conftest import Finetunes
from tests.operator.process import Operator

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(1800)]  # Kueue may have to be built
QUEUED: dict[str, Any] = {"runtime_queueName": QUEUE, "runtime_resources": {"requests": {"cpu": 1}}}


def _job(finetunes: Finetunes, name: str) -> dict[str, Any]:
    (job,) = (j for j in finetunes.children("jobs") if j["metadata"]["name"] == name)
    return job


def test_a_finetune_waits_in_its_queue_and_begins_when_it_is_let_in(
    operator: Operator, finetunes: Finetunes, open_queue: Callable[[bool], None]
) -> None:
    finetunes.apply("succeed", limits_pendingSeconds=10, **QUEUED)
    told = finetunes.await_condition("Reconciling", "True", "Queued", seconds=10)
    assert "Queue team (spec.runtime.queueName)" in told["message"]
    assert finetunes.status()["phase"] == "Pending"
    assert _job(finetunes, "one-1")["spec"]["suspend"] is True
    assert finetunes.children("pods") == []
    open_queue(True)
    finetunes.await_condition("Ready", "True")


def test_a_finetune_in_a_queue_that_is_not_there_begins_once_it_names_another(
    operator: Operator, finetunes: Finetunes, open_queue: Callable[[bool], None]
) -> None:
    open_queue(True)
    finetunes.apply("succeed", **{**QUEUED, "runtime_queueName": "absent"})
    finetunes.await_condition("Reconciling", "True", "Queued", seconds=10)
    finetunes.client.patch(f"{finetunes.path}/one", {"spec": {"runtime": {"queueName": QUEUE}}})
    finetunes.await_condition("Ready", "True")
    assert finetunes.status()["run"]["number"] == 1


def test_a_queued_finetune_can_be_suspended_and_comes_back_to_its_queue(
    operator: Operator, finetunes: Finetunes, open_queue: Callable[[bool], None]
) -> None:
    finetunes.apply("succeed", **QUEUED)
    finetunes.await_condition("Reconciling", "True", "Queued", seconds=10)
    finetunes.client.patch(f"{finetunes.path}/one", {"spec": {"suspend": True}})
    finetunes.await_condition("Suspended", "True")
    assert finetunes.children("jobs") == []
    finetunes.client.patch(f"{finetunes.path}/one", {"spec": {"suspend": False}})
    finetunes.await_condition("Reconciling", "True", "Queued")
    open_queue(True)
    finetunes.await_condition("Ready", "True")


def test_an_urgent_finetune_takes_the_place_of_another_which_goes_on_afterwards(
    operator: Operator, finetunes: Finetunes, open_queue: Callable[[bool], None]
) -> None:
    open_queue(True)
    models = finetunes.make_claim("models")
    finetunes.apply("wait_for_a_file", output_uri="pvc://models/one", **QUEUED)
    finetunes.await_condition("Reconciling", "True", "Running")
    first = _job(finetunes, "one-1")["metadata"]["uid"]

    finetunes.apply(
        "wait_for_a_file",
        "two",
        output_uri="pvc://models/two",
        runtime_pod={"priorityClassName": URGENT},
        **QUEUED,
    )
    finetunes.await_condition("Reconciling", "True", "Queued")
    finetunes.await_condition("Reconciling", "True", "Running", name="two")
    (models / "go").touch()
    finetunes.await_condition("Ready", "True", name="two")
    finetunes.await_condition("Ready", "True")

    run = finetunes.status()["run"]
    counted = (run["number"], run["attempt"], run["interruptions"], run.get("retries", 0))
    assert counted == (1, 2, 1, 0), run
    assert _job(finetunes, "one-1")["metadata"]["uid"] == first, "a queue suspends the Job, it takes no other"
