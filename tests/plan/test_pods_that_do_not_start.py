"""A run whose pod does not start: the reason at once, Stalled only after limits.pendingSeconds."""

import json
from typing import Any

import pytest

from finetune_operator.decisions.observed import Observed
from tests.plan import world

GIVE_UP = " Given up after 3600 s without a start (spec.limits.pendingSeconds)."
JOB = world.a_job()
POD = world.a_pod()

PODS: dict[str, tuple[world.Object, str, str]] = {
    "no node has room": (
        world.an_unschedulable_pod("0/3 nodes are available: 3 Insufficient nvidia.com/gpu."),
        "Unschedulable",
        (
            "Pod vdr-1-abcde does not start: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
            " Make room on a node, or ask for less in spec.runtime."
        ),
    ),
    "a claim is missing": (
        world.an_unschedulable_pod(
            '0/1 nodes are available: persistentvolumeclaim "data" not found. not found'
        ),
        "ClaimMissing",
        (
            "PersistentVolumeClaim data does not exist in this namespace."
            " Create it, or correct the pvc:// URI; the run goes on by itself once it is there."
        ),
    ),
    "a claim is not bound": (
        world.an_unschedulable_pod(
            "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."
        ),
        "ClaimNotBound",
        (
            "A PersistentVolumeClaim of this run is not bound to a volume yet."
            " See `kubectl get pvc`; the run goes on by itself once it is bound."
        ),
    ),
    "an image cannot be pulled": (
        world.a_waiting_pod(
            "ErrImagePull", "https://me:secret@registry.example/v2/trainer?sig=abc: not found"
        ),
        "ImagePullBackOff",
        (
            "Pod vdr-1-abcde does not start: https://registry.example/v2/trainer not found."
            " Check that spec.runtime.image (absent: the operator's) exists and may be pulled."
        ),
    ),
    "an image is pulled again later": (
        world.a_waiting_pod("ImagePullBackOff", 'Back-off pulling image "trainer"'),
        "ImagePullBackOff",
        (
            'Pod vdr-1-abcde does not start: Back-off pulling image "trainer".'
            " Check that spec.runtime.image (absent: the operator's) exists and may be pulled."
        ),
    ),
    "an image has no valid name": (
        world.a_waiting_pod("InvalidImageName", 'couldn\'t parse image name "A/b"'),
        "InvalidImageName",
        'Pod vdr-1-abcde does not start: couldn\'t parse image name "A/b". Correct spec.runtime.image.',
    ),
    "the container's configuration is wrong": (
        world.a_waiting_pod(
            "CreateContainerConfigError", "container has runAsNonRoot and image will run as root"
        ),
        "CreateContainerConfigError",
        (
            "Pod vdr-1-abcde does not start: container has runAsNonRoot and image will run as root."
            " See `kubectl describe pod` for more."
        ),
    ),
    "a reason that is no word": (
        world.a_waiting_pod("e-1"),
        "PodNotStarting",
        "Pod vdr-1-abcde does not start: PodNotStarting. See `kubectl describe pod` for more.",
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
            "Secret hf does not exist in this namespace."
            " Create it, or correct the secretRef; the run goes on by itself once it is there."
        ),
    ),
    "a volume cannot be mounted": (
        world.an_event(POD, "FailedMount", "Unable to attach or mount volumes: timed out"),
        (POD,),
        "FailedMount",
        (
            "The run's pod does not start: Unable to attach or mount volumes: timed out."
            " Correct what the message names; the run goes on by itself."
        ),
    ),
    "the scheduler tells it by an Event only": (
        world.an_event(POD, "FailedScheduling", "0/0 nodes are available"),
        (POD,),
        "Unschedulable",
        (
            "The run's pod does not start: 0/0 nodes are available."
            " Make room on a node, or ask for less in spec.runtime."
        ),
    ),
    "a quota has no room": (
        world.an_event(
            JOB,
            "FailedCreate",
            'pods "vdr-1-x" is forbidden: exceeded quota: gpus, requested: 1, used: 4, limited: 4',
        ),
        (),
        "QuotaExceeded",
        (
            "A ResourceQuota of this namespace has no room for the pod:"
            " gpus, requested: 1, used: 4, limited: 4."
            " Raise the quota, wait until others end, or ask for less in spec.runtime."
        ),
    ),
    "Pod Security refuses": (
        world.an_event(
            JOB, "FailedCreate", 'pods "x" is forbidden: violates PodSecurity "restricted:v1.34": seccomp'
        ),
        (),
        "PodSecurityViolation",
        (
            "The namespace's Pod Security level refuses the pod:"
            ' it violates PodSecurity "restricted:v1.34": seccomp.'
            " Correct the namespace's labels; the trainer's pods fit the level restricted."
        ),
    ),
    "a webhook refuses": (
        world.an_event(JOB, "FailedCreate", 'admission webhook "policy.example" denied the request: no'),
        (),
        "AdmissionDenied",
        (
            "The cluster's policies refuse the pod:"
            ' admission webhook "policy.example" denied the request: no.'
            " Correct the policy, or what it objects to in spec.runtime."
        ),
    ),
    "a LimitRange refuses": (
        world.an_event(JOB, "FailedCreate", "pods is forbidden: minimum cpu usage per Container is 1"),
        (),
        "FailedCreate",
        (
            "The run's pod does not start: pods is forbidden: minimum cpu usage per Container is 1."
            " Correct what the message names; the run goes on by itself."
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
        15.0,
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


def test_only_the_newest_event_counts() -> None:
    events = (
        world.an_event(POD, "FailedMount", 'secret "hf" not found', seconds=6),
        world.an_event(POD, "Pulling", "Pulling image", seconds=7, type_="Normal"),
    )
    assert world.decide(_look(pods=(POD,), events=events)).status["phase"] == "Starting"


def test_of_two_events_of_the_same_second_the_warning_counts() -> None:
    events = (
        world.an_event(POD, "FailedMount", 'secret "hf" not found', seconds=6),
        world.an_event(POD, "Scheduled", "assigned", seconds=6, type_="Normal"),
    )
    assert world.decide(_look(pods=(POD,), events=events)).status["phase"] == "Pending"


def test_a_repeated_event_is_as_new_as_its_last_repetition() -> None:
    repeated = world.an_event(POD, "FailedMount", 'secret "hf" not found', seconds=1)
    repeated["series"] = {"count": 9, "lastObservedTime": world.time(9)}
    events = (repeated, world.an_event(POD, "Scheduled", "assigned", seconds=6, type_="Normal"))
    assert world.decide(_look(pods=(POD,), events=events)).status["phase"] == "Pending"


def test_a_pod_that_comes_up_as_it_should_is_starting() -> None:
    decision = world.decide(_look(pods=(world.a_waiting_pod("ContainerCreating"),), now=world.at(2)))
    assert (decision.status["phase"], decision.requeue_after_seconds) == ("Starting", 5.0)


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
        "PersistentVolumeClaim data does not exist in this namespace."
        " It did not start within 3600 s (spec.limits.pendingSeconds), so its Job was deleted."
    )
    hint = (
        "Create it, or correct the pvc:// URI; the run goes on by itself once it is there."
        " Then any change of the spec starts the next run."
    )
    failure = {"reason": "ClaimMissing", "message": message, "hint": hint, "retryable": True}
    assert (decision.status["failure"], decision.status["phase"]) == (failure, "Failed")
    assert world.said(decision.status, "Stalled") == ("True", "ClaimMissing", f"{message} {hint}")
    assert decision.status["run"]["completionTime"] == world.time(3600)
    assert world.decide(world.applied(look, decision)).create == ()


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
