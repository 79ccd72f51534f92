"""A run whose pod does not start: the reason at once, Stalled only after limits.pendingSeconds."""

import json
from typing import Any

import pytest

from finetune_operator.decisions.observed import Observed
from tests.plan import world

GIVE_UP = " Given up after 3600 s without a start (spec.limits.pendingSeconds)."
JOB = world.a_job()
POD = world.a_pod()
MICROSECONDS_LATER = "2026-03-01T12:00:06.900000Z"

PODS: dict[str, tuple[world.Object, str, str]] = {
    "no node has room": (
        world.an_unschedulable_pod("0/3 nodes are available: 3 Insufficient nvidia.com/gpu."),
        "Unschedulable",
        (
            "No node can take pod vdr-1-abcde, which asks for nvidia.com/gpu: 1:"
            " 0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
            " You: wait until others end, or ask for less in spec.runtime."
            " Platform team: add a node that has as much."
        ),
    ),
    "a claim is missing": (
        world.an_unschedulable_pod(
            '0/1 nodes are available: persistentvolumeclaim "data" not found. not found'
        ),
        "ClaimMissing",
        (
            "PersistentVolumeClaim data does not exist in namespace team-a."
            " You: create it, or correct the field of the spec that names it;"
            " the run goes on by itself once it is there."
        ),
    ),
    "somebody holds the pod back": (
        world.changed(
            world.a_pod(
                conditions=[{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]
            ),
            "spec.schedulingGates",
            [{"name": "example.com/quota"}],
        ),
        "SchedulingGated",
        (
            "Pod vdr-1-abcde is held back by scheduling gates: example.com/quota."
            " Platform team: see the controller that set the gate."
        ),
    ),
    "an image is not there": (
        world.a_waiting_pod(
            "ErrImagePull", "https://me:secret@registry.example/v2/trainer?sig=abc: not found"
        ),
        "ImageNotFound",
        (
            "Image images.example/trainer does not exist: https://registry.example/v2/trainer not found."
            " You: correct spec.runtime.image (absent: the operator's own image, which the platform team"
            " sets)."
        ),
    ),
    "the container's configuration is wrong": (
        world.a_waiting_pod("CreateContainerConfigError", "the node does not like it"),
        "CreateContainerConfigError",
        (
            "Pod vdr-1-abcde does not start: the node does not like it."
            " You: see `kubectl describe pod vdr-1-abcde -n team-a`; the run goes on by itself once that is"
            " mended."
        ),
    ),
    "a reason that is no word": (
        world.a_waiting_pod("e-1"),
        "PodNotStarting",
        (
            "Pod vdr-1-abcde does not start: PodNotStarting."
            " You: see `kubectl describe pod vdr-1-abcde -n team-a`; the run goes on by itself once that is"
            " mended."
        ),
    ),
}

EVENTS: dict[str, tuple[world.Object, tuple[world.Object, ...], str, str]] = {
    "a Secret is missing": (
        world.an_event(
            POD, "FailedMount", 'MountVolume.SetUp failed for volume "secret-0": secret "hf" not found'
        ),
        (POD,),
        "SecretMissing",
        (
            "Secret hf does not exist in namespace team-a."
            " You: create it (`kubectl create secret generic hf -n team-a --from-literal=<key>=<value>`), or"
            " correct the secretRef; the run goes on by itself once it is there."
        ),
    ),
    "a volume cannot be mounted": (
        world.an_event(POD, "FailedMount", "the moon is full"),
        (POD,),
        "FailedMount",
        (
            "Pod vdr-1-abcde does not start: the moon is full."
            " You: see `kubectl describe pod vdr-1-abcde -n team-a`; the run goes on by itself once that is"
            " mended."
        ),
    ),
    "the scheduler tells it by an Event only": (
        world.an_event(POD, "FailedScheduling", "no nodes available to schedule pods"),
        (POD,),
        "Unschedulable",
        "No node can take pod vdr-1-abcde: no nodes available to schedule pods. Platform team: add a node.",
    ),
    "a quota has no room": (
        world.an_event(
            JOB,
            "FailedCreate",
            'pods "x" is forbidden: exceeded quota: gpus, requested: pods=1, used: pods=4, limited: pods=4',
        ),
        (),
        "QuotaExceeded",
        (
            "ResourceQuota gpus of namespace team-a has no room: requested: pods=1, used: pods=4, limited:"
            " pods=4. You: wait until others end, or ask for less in spec.runtime."
            " Platform team: raise the quota; the run goes on by itself."
        ),
    ),
    "the Job's own trouble": (
        world.an_event(JOB, "FailedCreate", "no luck today"),
        (),
        "FailedCreate",
        (
            "Job vdr-1 makes no pod: no luck today."
            " You: see `kubectl describe job vdr-1 -n team-a`; the run goes on by itself once that is mended."
        ),
    ),
}


def _look(**parts: Any) -> Observed:
    return world.a_look(world.started(), **{"job": JOB, "config": world.a_config(), **parts})


@pytest.mark.parametrize("case", PODS)
def test_a_pod_that_does_not_start_tells_why_and_what_to_do(case: str) -> None:
    pod, reason, message = PODS[case]
    decision = world.decide(_look(pods=(pod,)))
    assert (decision.status["phase"], decision.delete, decision.requeue_after_seconds) == (
        "Pending",
        (),
        60.0,
    )
    assert world.said(decision.status, "Reconciling") == ("True", reason, message + GIVE_UP)


@pytest.mark.parametrize("case", EVENTS)
def test_what_only_events_tell_is_told(case: str) -> None:
    event, pods, reason, message = EVENTS[case]
    decision = world.decide(_look(pods=pods, events=(event,)))
    assert world.said(decision.status, "Reconciling") == ("True", reason, message + GIVE_UP)


def test_an_event_about_something_else_says_nothing() -> None:
    event = world.an_event(world.a_pod("another"), "FailedMount", "secret not found")
    decision = world.decide(_look(pods=(POD,), events=(event, {"type": "Warning"})))
    assert decision.status["phase"] == "Starting"


def test_a_warning_that_keeps_nothing_from_starting_hides_none_that_does() -> None:
    events = (
        world.an_event(POD, "FailedMount", 'secret "hf" not found', seconds=6),
        world.an_event(POD, "DNSConfigForming", "too many nameservers", seconds=7),
    )
    decision = world.decide(_look(pods=(POD,), events=events))
    assert (world.condition(decision.status, "Reconciling") or {})["reason"] == "SecretMissing"


def test_only_the_newest_event_counts() -> None:
    events = (
        world.an_event(POD, "FailedMount", 'secret "hf" not found', seconds=6),
        world.an_event(POD, "Pulling", "Pulling image", seconds=7, type_="Normal"),
    )
    assert world.decide(_look(pods=(POD,), events=events)).status["phase"] == "Starting"


def test_of_two_events_of_the_same_second_the_warning_counts() -> None:
    events = (
        world.an_event(POD, "FailedMount", 'secret "hf" not found', seconds=6),
        {**world.an_event(POD, "Scheduled", "assigned", type_="Normal"), "eventTime": MICROSECONDS_LATER},
    )
    assert world.decide(_look(pods=(POD,), events=events)).status["phase"] == "Pending"


def test_the_scheduler_s_event_may_come_after_the_node_s_own_trouble() -> None:
    pod = {**POD, "spec": {**POD["spec"], "nodeName": "a"}}
    events = (
        world.an_event(pod, "FailedScheduling", "no node", seconds=5),
        world.an_event(pod, "FailedMount", 'secret "hf" not found', seconds=6),
        world.an_event(pod, "Scheduled", "assigned", seconds=7, type_="Normal"),
    )
    decision = world.decide(_look(pods=(pod,), events=events))
    assert (world.condition(decision.status, "Reconciling") or {})["reason"] == "SecretMissing"


def test_a_repeated_event_is_as_new_as_its_last_repetition() -> None:
    repeated = world.an_event(POD, "FailedMount", 'secret "hf" not found', seconds=1)
    repeated["series"] = {"count": 9, "lastObservedTime": world.time(9)}
    events = (repeated, world.an_event(POD, "Scheduled", "assigned", seconds=6, type_="Normal"))
    assert world.decide(_look(pods=(POD,), events=events)).status["phase"] == "Pending"


def test_a_pod_that_comes_up_as_it_should_is_starting() -> None:
    decision = world.decide(_look(pods=(world.a_waiting_pod("ContainerCreating"),), now=world.at(2)))
    assert (decision.status["phase"], decision.requeue_after_seconds) == ("Starting", 3.0)


def test_a_pod_that_is_being_deleted_has_no_problem() -> None:
    pod = world.a_waiting_pod("ImagePullBackOff", "no")
    pod["metadata"]["deletionTimestamp"] = world.time(1)
    assert world.decide(_look(pods=(pod,))).status["phase"] == "Starting"


def test_it_runs_once_what_was_missing_is_there() -> None:
    look = _look(pods=(world.an_unschedulable_pod('persistentvolumeclaim "data" not found'),))
    waiting = {**look.finetune, "status": world.decide(look).status}
    decision = world.decide(world.a_look(waiting, job=JOB, config=look.config, pods=(world.a_running_pod(),)))
    assert world.said(decision.status, "Reconciling") == (
        "True",
        "Running",
        "The trainer of run 1 is at work.",
    )


def test_after_pending_seconds_the_job_is_deleted_and_the_run_stalls() -> None:
    pod = world.an_unschedulable_pod('persistentvolumeclaim "data" not found')
    look = _look(pods=(pod,), now=world.at(3600))
    decision = world.decide(look)
    assert [(d.kind, d.name, d.uid) for d in decision.delete] == [("Job", "vdr-1", "uid-of-vdr-1")]
    message = (
        "PersistentVolumeClaim data does not exist in namespace team-a."
        " It did not start within 3600 s (spec.limits.pendingSeconds), so its Job was deleted."
    )
    hint = (
        "You: create it, or correct the field of the spec that names it;"
        " the run goes on by itself once it is there. Then set spec.rerun to a new word."
    )
    failure = {"reason": "ClaimMissing", "message": message, "hint": hint, "retryable": True}
    assert (decision.status["failure"], decision.status["phase"]) == (failure, "Failed")
    assert world.said(decision.status, "Stalled") == ("True", "ClaimMissing", f"{message} {hint}")
    assert decision.status["run"]["completionTime"] == world.time(3600)
    assert world.decide(world.applied(look, decision)).create == ()


@pytest.mark.parametrize(("waited", "again"), [(2, 5.0), (40, 10.0), (100, 25.0), (1000, 60.0)])
def test_the_longer_it_waits_the_seldomer_it_looks_for_events(waited: float, again: float) -> None:
    pod = world.an_unschedulable_pod("no")
    assert world.decide(_look(pods=(pod,), now=world.at(waited))).requeue_after_seconds == again


def test_shortly_before_the_end_it_looks_again_at_the_end() -> None:
    look = _look(pods=(world.an_unschedulable_pod("no"),), now=world.at(3590))
    assert world.decide(look).requeue_after_seconds == 10.0


def test_the_wait_counts_from_the_pod_that_waits_not_from_the_run() -> None:
    """A run may be hours old when its second attempt finds no node."""
    ended = world.a_finished_pod(1, ended=7000)
    waiting = world.an_unschedulable_pod("no", created=7010, name="vdr-1-later")
    look = _look(pods=(ended, waiting), now=world.at(7020))
    assert world.verdicts(world.decide(look).status, "Stalled") == [None]


def test_without_a_next_pod_the_wait_counts_from_the_end_of_the_last() -> None:
    event = world.an_event(JOB, "FailedCreate", "exceeded quota: gpus", seconds=7001)
    pods = (world.a_finished_pod(1, ended=7000),)
    early, late = (_look(pods=pods, events=(event,), now=world.at(t)) for t in (7020, 10_600))
    assert world.verdicts(world.decide(early).status, "Stalled") == [None]
    assert world.verdicts(world.decide(late).status, "Stalled") == ["True"]


def test_any_change_of_the_spec_starts_a_run_that_was_given_up_again() -> None:
    look = _look(pods=(world.an_unschedulable_pod("no"),), now=world.at(3600))
    stalled = {**look.finetune, "status": world.decide(look).status}
    patient = world.edited(stalled, world.changed(world.SPEC, "limits.pendingSeconds", 86_400))
    decision = world.decide(world.a_look(patient, config=look.config))
    assert (decision.status["run"]["number"], "failure" in decision.status) == (2, False)
    assert world.said(decision.status, "Reconciling") == (
        "True",
        "SpecChanged",
        "The spec has changed after run 1 failed: it runs again.",
    )


def test_messages_stay_within_what_a_status_may_hold() -> None:
    pod = world.an_unschedulable_pod("node says no. " * 1000)
    for seconds in (600, 3600):
        status = world.decide(_look(pods=(pod,), now=world.at(seconds))).status
        assert len(json.dumps(status)) < 16_000
