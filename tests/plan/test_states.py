"""What each state means to machines: the table of conditions, read by kstatus."""

from typing import Any

import pytest

from finetune_operator.decisions.runs import is_settled
from tests.plan import world
from tests.plan.kstatus import Kstatus, kstatus

State = tuple[world.Object, list[str | None], Kstatus]


def _decided(finetune: world.Object, **parts: Any) -> world.Object:
    return {**finetune, "status": world.decide(world.a_look(finetune, **parts)).status}


def _running() -> world.Object:
    return _decided(
        world.started(), job=world.a_job(), config=world.a_config(), pods=(world.a_running_pod(),)
    )


def _retrying() -> world.Object:
    pods = (world.a_finished_pod(1),)
    return _decided(world.started(), job=world.a_job(), config=world.a_config(), pods=pods)


def _missing_claim() -> world.Object:
    pods = (world.an_unschedulable_pod('persistentvolumeclaim "data" not found'),)
    return _decided(world.started(), job=world.a_job(), config=world.a_config(), pods=pods)


def _given_up() -> world.Object:
    pods = (world.an_unschedulable_pod('persistentvolumeclaim "data" not found'),)
    job, config = world.a_job(), world.a_config()
    return _decided(world.started(), job=job, config=config, pods=pods, now=world.at(3600))


def _invalid() -> world.Object:
    return _decided(world.a_finetune(world.changed(world.SPEC, "training", {"epochs": "-1"})))


def _changed_spec() -> world.Object:
    finetune = world.concluded(world.a_report())
    return _decided(world.edited(finetune, world.changed(world.SPEC, "training", {"seed": 1})))


def _suspending() -> world.Object:
    finetune = world.edited(_running(), world.changed(world.SPEC, "suspend", True))
    pods = (world.a_running_pod(),)
    return _decided(finetune, job=world.a_job(), config=world.a_config(), pods=pods)


def _suspended() -> world.Object:
    return _decided(_suspending(), config=world.a_config())


def _resumed() -> world.Object:
    return _decided(world.edited(_suspended(), world.SPEC), config=world.a_config())


def _queued() -> world.Object:
    job = {**world.a_job(), "spec": {"suspend": True}}
    return _decided(world.started(), job=job, config=world.a_config())


STATES: dict[str, State] = {
    "never seen": (world.a_finetune(), [None, None, None], "InProgress"),
    "starting": (world.started(), ["True", None, "Unknown"], "InProgress"),
    "running": (_running(), ["True", None, "Unknown"], "InProgress"),
    "retrying": (_retrying(), ["True", None, "Unknown"], "InProgress"),
    "a claim is missing": (_missing_claim(), ["True", None, "Unknown"], "InProgress"),
    "given up pending": (_given_up(), [None, "True", "False"], "Failed"),
    "published": (world.concluded(world.a_report()), [None, None, "True"], "Current"),
    "nothing to publish to": (
        world.concluded(world.a_report(artifact=None), spec=world.changed(world.SPEC, "output", None)),
        [None, None, "True"],
        "Current",
    ),
    "gate not passed": (world.concluded(world.a_report("GateFailed")), [None, "True", "False"], "Failed"),
    "failed": (world.concluded(world.a_report("Failed")), [None, "True", "False"], "Failed"),
    "the spec cannot work": (_invalid(), [None, "True", "False"], "Failed"),
    "suspended": (_suspended(), [None, None, "Unknown"], "InProgress"),
    "suspended, with its pod still there": (_suspending(), ["True", None, "Unknown"], "InProgress"),
    "resumed": (_resumed(), ["True", None, "Unknown"], "InProgress"),
    "held back by a queue": (_queued(), ["True", None, "Unknown"], "InProgress"),
    "the spec has changed": (_changed_spec(), ["True", None, "Unknown"], "InProgress"),
}


@pytest.mark.parametrize("state", STATES)
def test_conditions_and_kstatus_are_those_of_the_table(state: str) -> None:
    finetune, expected, read_as = STATES[state]
    found = world.verdicts({"conditions": [], **finetune["status"]}, "Reconciling", "Stalled", "Ready")
    assert (found, kstatus(finetune)) == (expected, read_as)


@pytest.mark.parametrize("state", [state for state in STATES if state != "never seen"])
def test_every_state_speaks_of_the_present_generation_everywhere(state: str) -> None:
    finetune, _, _ = STATES[state]
    generations = {c["observedGeneration"] for c in finetune["status"]["conditions"]}
    assert generations | {finetune["status"]["observedGeneration"]} == {finetune["metadata"]["generation"]}


@pytest.mark.parametrize("state", [state for state in STATES if state != "never seen"])
def test_gate_and_publishing_are_told_in_every_state(state: str) -> None:
    finetune, _, _ = STATES[state]
    assert None not in world.verdicts(finetune["status"], "GatePassed", "Published")


@pytest.mark.parametrize("state", STATES)
def test_exactly_what_is_suspended_or_not_in_progress_is_settled(state: str) -> None:
    finetune, _, read_as = STATES[state]
    assert is_settled(finetune) == (read_as != "InProgress" or state == "suspended")


@pytest.mark.parametrize("state", STATES)
def test_only_a_suspended_finetune_says_so(state: str) -> None:
    (found,) = world.verdicts({"conditions": [], **STATES[state][0]["status"]}, "Suspended")
    assert found == ("True" if state == "suspended" else None)


def test_a_finetune_that_is_being_deleted_is_terminating_and_left_alone() -> None:
    finetune = world.started(deletionTimestamp=world.time(0))
    assert (kstatus(finetune), is_settled(finetune)) == ("Terminating", True)


def test_kstatus_calls_a_resource_without_conditions_current() -> None:
    """Why `status` has the default observedGeneration -1."""
    assert kstatus({"metadata": {"generation": 1}, "status": {}}) == "Current"


def test_conditions_stand_in_an_order_in_which_the_first_hit_is_right() -> None:
    for finetune, _, _ in STATES.values():
        types = [c["type"] for c in finetune["status"].get("conditions", [])]
        order = ("Reconciling", "Stalled", "Suspended", "Ready", "GatePassed", "Published")
        assert types == [t for t in order if t in types]
