"""A pod that runs but says nothing, or whose node does not answer: told, and nothing is stopped."""

from typing import Any

import pytest

from finetune_api.status import Progress
from finetune_operator.decisions.plan import Plan
from tests.plan import world

JOB = world.a_job()


def _decide(pod: world.Object, **parts: Any) -> Plan:
    config = world.a_config()
    return world.decide(world.a_look(world.started(), job=JOB, config=config, pods=(pod,), **parts))


def _told(decision: Plan) -> tuple[str, str]:
    said = world.said(decision.status, "Reconciling")
    assert said is not None
    assert (decision.delete, decision.create) == ((), ())
    return said[1], said[2]


def test_a_pod_that_reports_nothing_new_for_long_is_called_stuck() -> None:
    live = world.live("Training", Progress(percent=40, step=40), 100, pod_uid="uid-of-vdr-1-abcde")
    decision = _decide(world.a_running_pod(), live=live, now=world.at(1900))
    reason, message = _told(decision)
    assert reason == "Stuck"
    assert "vdr-1-abcde has reported nothing new since 2026-03-01T12:01:40Z, in phase Training" in message
    assert "at step 40, for more than 1800 s (spec.limits.stuckSeconds)" in message
    assert "You: see `kubectl logs vdr-1-abcde -n team-a`" in message
    assert decision.status["progress"]["percent"] == 40


def test_until_then_it_runs_and_is_looked_at_again_in_time() -> None:
    live = world.live("Training", Progress(percent=40), 100, pod_uid="uid-of-vdr-1-abcde")
    decision = _decide(world.a_running_pod(), live=live, now=world.at(1800))
    assert (_told(decision)[0], decision.requeue_after_seconds) == ("Running", 100.0)


@pytest.mark.parametrize(("started", "listening"), [(10, 0), (0, 10)])
def test_a_pod_never_heard_of_is_quiet_since_its_start_or_since_somebody_listens(
    started: float, listening: float
) -> None:
    pod, since = world.a_running_pod(started=started), world.at(listening)
    looks = [_decide(pod, now=world.at(t), listening_since=since) for t in (1809, 1811)]
    assert [_told(decision)[0] for decision in looks] == ["Running", "Stuck"]


def test_it_runs_again_once_it_says_something() -> None:
    look = world.a_look(
        world.started(), job=JOB, config=world.a_config(), pods=(world.a_running_pod(),), now=world.at(2000)
    )
    stuck = world.decide(look)
    assert _told(stuck)[0] == "Stuck"
    live = world.live("Training", Progress(percent=1), 2010, pod_uid="uid-of-vdr-1-abcde")
    again = world.a_look(
        {**look.finetune, "status": stuck.status},
        job=JOB, config=look.config, pods=look.pods, live=live, now=world.at(2011),
    )  # fmt: skip
    assert _told(world.decide(again)) == ("Running", "The trainer of run 1 is at work.")


def _with_conditions(pod: world.Object, **conditions: str) -> world.Object:
    found = [{"type": t, "status": s, "lastTransitionTime": world.time(300)} for t, s in conditions.items()]
    return {**pod, "spec": {**pod["spec"], "nodeName": "a"}, "status": {**pod["status"], "conditions": found}}


def test_a_node_that_does_not_answer_is_told() -> None:
    pod = _with_conditions(world.a_running_pod(), Ready="False", ContainersReady="True")
    reason, message = _told(_decide(pod))
    assert reason == "NodeNotReady"
    assert message.startswith("Node a of pod vdr-1-abcde does not answer since 2026-03-01T12:05:00Z.")
    assert "Platform team: see `kubectl get node a`" in message


def test_a_sidecar_that_is_not_ready_is_none_of_the_node_s_trouble() -> None:
    pod = _with_conditions(world.a_running_pod(), Ready="False", ContainersReady="False")
    assert _told(_decide(pod))[0] == "Running"


def test_a_pod_long_overdue_to_be_gone_is_lost_with_its_node() -> None:
    pod = world.being_deleted(_with_conditions(world.a_running_pod(), Ready="True"), 569)
    reason, message = _told(_decide(pod, now=world.at(600)))
    assert reason == "NodeLost"
    assert "was to be gone by 2026-03-01T12:09:29Z, but its node a does not say" in message
    assert (
        "Platform team: see `kubectl get node a`; if it will not come back, `kubectl delete node a`"
        in message
    )


def test_a_pod_within_its_grace_is_looked_at_when_that_is_over() -> None:
    pod = world.being_deleted(world.a_running_pod(), 600)
    decision = _decide(pod, now=world.at(550))
    assert (_told(decision)[0], decision.requeue_after_seconds) == ("Running", 80.0)


def test_a_pod_that_never_began_can_be_lost_with_its_node_too() -> None:
    pod = world.being_deleted(_with_conditions(world.a_waiting_pod("ContainerCreating")), 500)
    assert _told(_decide(pod))[0] == "NodeLost"
