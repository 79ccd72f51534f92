"""Why a run failed that left no Report: a sentence for each way to end."""

import json
from typing import Any

import pytest

from finetune_api.exit_codes import USER_ERRORS, ExitCode
from finetune_operator.decisions.failures import failure_of_attempt
from tests.plan import world

AGAIN = "You: set spec.rerun to a new word to run it again."
MEMORY = (
    "You: raise spec.runtime.resources.limits.memory, or lower spec.training.batchSize,"
    " spec.model.maxSeqLength or the processor's pixels; the change of the spec starts the next run."
)
IMAGE = (
    "You: use a trainer image of the operator's version in spec.runtime.image,"
    " or none for the operator's own."
)
POD = "Pod vdr-1-abcde"


def _disrupted(reason: str, message: str | None) -> world.Object:
    condition = {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": message}
    return world.a_finished_pod(143, conditions=[condition])


PODS: dict[str, tuple[world.Object, str, str, str, bool]] = {
    "done without a Report": (
        world.a_finished_pod(0),
        "ReportMissing",
        f"{POD} ended with exit code 0: the trainer ended well but left no Report.",
        AGAIN,
        True,
    ),
    "an unforeseen error": (
        world.a_finished_pod(1, "Traceback\nKeyError: 1\n"),
        "InternalError",
        f"{POD} ended with exit code 1: an error nobody foresaw. The end of its log: Traceback\nKeyError: 1",
        (
            "You: see the log; set spec.rerun to a new word to run it again."
            " Platform team: report the error to the operator's makers."
        ),
        True,
    ),
    "bad data": (
        world.a_finished_pod(11),
        "InvalidData",
        f"{POD} ended with exit code 11: the data are not what the spec says.",
        "You: correct spec.data, or the data and set spec.rerun to a new word to run it again.",
        False,
    ),
    "a source that broke off": (
        world.a_finished_pod(20),
        "SourceUnavailable",
        f"{POD} ended with exit code 20: a source did not answer or broke off.",
        (
            "You: see whether the source is up and set spec.rerun to a new word to run it again."
            " Platform team: see the cluster's way out."
        ),
        True,
    ),
    "memory of the GPU": (
        world.a_finished_pod(21),
        "OutOfMemory",
        f"{POD} ended with exit code 21: memory ran out.",
        MEMORY,
        False,
    ),
    "memory of the container": (
        world.a_finished_pod(137, reason="OOMKilled"),
        "HostOutOfMemory",
        f"{POD} was killed: it wanted more memory than its limit of 16Gi.",
        MEMORY,
        False,
    ),
    "a signal": (
        world.a_finished_pod(139),
        "Killed",
        f"{POD} ended with exit code 139: it was killed by signal 11.",
        f"{AGAIN} Platform team: see whether the node ran out of memory.",
        True,
    ),
    "a strange code": (
        world.a_finished_pod(77),
        "UnknownExitCode",
        f"{POD} ended with exit code 77: the trainer knows no such code.",
        "You: check spec.runtime.image, and set spec.rerun to a new word to run it again.",
        False,
    ),
    "an eviction for want of disk": (
        world.a_pod(
            phase="Failed", reason="Evicted", message="The node was low on resource: ephemeral-storage. "
        ),
        "Evicted",
        f"{POD} was evicted by its node: The node was low on resource: ephemeral-storage.",
        (
            "You: ask for enough in spec.runtime.resources.requests.ephemeral-storage,"
            " or set spec.rerun to a new word to run it again."
        ),
        True,
    ),
    "an eviction for want of memory": (
        world.a_pod(phase="Failed", reason="Evicted", message="The node was low on resource: memory."),
        "Evicted",
        f"{POD} was evicted by its node: The node was low on resource: memory.",
        (
            "You: ask for enough in spec.runtime.resources.requests.memory,"
            " or set spec.rerun to a new word to run it again."
        ),
        True,
    ),
    "a pod of higher priority": (
        _disrupted(
            "PreemptionByScheduler", "default-scheduler: preempting to accommodate a higher priority pod"
        ),
        "Preempted",
        (
            f"{POD} made way for a pod of higher priority: default-scheduler: preempting to accommodate a"
            " higher priority pod."
        ),
        (
            "You: give it a higher spec.runtime.pod.priorityClassName, or set spec.rerun to a new word to run"
            " it again. Platform team: or add a node."
        ),
        True,
    ),
    "a node that is drained": (
        _disrupted("EvictionByEvictionAPI", "Eviction API: evicting"),
        "Drained",
        f"{POD} was evicted through the API, as when a node is drained: Eviction API: evicting.",
        f"{AGAIN} Platform team: a PodDisruptionBudget would have held it back.",
        True,
    ),
    "a taint": (
        _disrupted("DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint"),
        "NodeTainted",
        (
            f"{POD} was taken off its node because of a NoExecute taint: Taint manager: deleting due to"
            " NoExecute taint."
        ),
        f"{AGAIN} Platform team: see `kubectl describe node`: it may be out of order, or no longer answer.",
        True,
    ),
    "a node that is gone": (
        _disrupted("DeletionByPodGC", "PodGC: node no longer exists"),
        "NodeLost",
        f"{POD} is lost with its node: PodGC: node no longer exists.",
        f"{AGAIN} Platform team: see what became of the node.",
        True,
    ),
    "an interruption without a word": (
        _disrupted("SomethingNew", None),
        "Interrupted",
        f"{POD} was taken off its node: no reason is given.",
        AGAIN,
        True,
    ),
    "somebody deleted it": (
        world.being_deleted(world.a_finished_pod(143)),
        "Interrupted",
        f"{POD} was deleted while its trainer was at work.",
        AGAIN,
        True,
    ),
    "an image without our command": (
        world.a_finished_pod(128, 'exec: "finetune-trainer": not found', reason="StartError"),
        "TrainerMismatch",
        f'{POD} could not start its trainer: exec: "finetune-trainer": not found.',
        IMAGE,
        False,
    ),
    "a shell without our command": (
        world.a_finished_pod(127),
        "TrainerMismatch",
        f"{POD} ended with exit code 127: the image has no command finetune-trainer that can be run.",
        IMAGE,
        False,
    ),
    "a pod whose container never began": (
        world.a_pod(phase="Failed", reason="UnexpectedAdmissionError", message="no such device"),
        "PodFailed",
        f"{POD} failed before its trainer ran: no such device.",
        f"{AGAIN} Platform team: see the log of the node's kubelet.",
        True,
    ),
    "a pod that says nothing at all": (
        world.a_pod(phase="Failed"),
        "PodFailed",
        f"{POD} failed before its trainer ran: the cluster gives no reason.",
        f"{AGAIN} Platform team: see the log of the node's kubelet.",
        True,
    ),
}


def _failure(**parts: Any) -> world.Object:
    usual = {"job": world.failed(world.a_job()), "config": world.a_config()}
    finetune = world.started()
    finetune["status"]["run"]["reportLost"] = True  # the attempt that makes up for it was made
    failure: world.Object = world.decide(world.a_look(finetune, **{**usual, **parts})).status["failure"]
    return failure


@pytest.mark.parametrize("case", PODS)
def test_a_pod_that_ended_tells_why(case: str) -> None:
    pod, reason, message, hint, retryable = PODS[case]
    expected = {"reason": reason, "message": message, "hint": hint, "retryable": retryable}
    assert _failure(pods=(pod,)) == expected


JOBS: dict[str, tuple[world.Object, str, str, bool]] = {
    "an exit code in the Job's condition": (
        world.failed(
            world.a_job(),
            reason="PodFailurePolicy",
            message=(
                "Container trainer for pod team-a/vdr-1-abcde failed with exit code 12"
                " matching FailJob rule at index 0"
            ),
        ),
        "InvalidModel",
        "The trainer of Job vdr-1 ended with exit code 12: the model cannot be used.",
        False,
    ),
    "all attempts used up": (
        world.failed(world.a_job(), message="Job has reached the specified backoff limit"),
        "BackoffLimitExceeded",
        "Job vdr-1 failed: Job has reached the specified backoff limit. No pod of it is left to tell why.",
        True,
    ),
    "a condition without words": (
        world.failed(world.a_job(), reason="odd reason"),
        "JobFailed",
        "Job vdr-1 failed: its condition says no more. No pod of it is left to tell why.",
        True,
    ),
    "complete, and its pod collected": (
        world.complete(world.a_job()),
        "ReportMissing",
        "Job vdr-1 is complete, but its pod is gone and left no Report.",
        True,
    ),
}


@pytest.mark.parametrize("case", JOBS)
def test_without_pods_the_job_tells_why(case: str) -> None:
    job, reason, message, retryable = JOBS[case]
    failure = _failure(job=job)
    assert (failure["reason"], failure["message"], failure["retryable"]) == (reason, message, retryable)
    assert failure["hint"]


@pytest.mark.parametrize("code", [c for c in ExitCode if c is not ExitCode.GATE_NOT_PASSED])
def test_every_exit_code_has_a_reason_of_its_own_and_a_next_step(code: ExitCode) -> None:
    failure = _failure(pods=(world.a_finished_pod(code),))
    assert failure["reason"] not in {"UnknownExitCode", "Killed"}
    assert failure["hint"].startswith("You: ")


@pytest.mark.parametrize("code", USER_ERRORS)
def test_an_error_of_the_user_s_is_not_called_retryable(code: ExitCode) -> None:
    assert _failure(pods=(world.a_finished_pod(code),))["retryable"] is False


def test_of_a_long_log_the_last_whole_lines_are_shown() -> None:
    log = "\n".join(f"line {i}" for i in range(500))
    message = _failure(pods=(world.a_finished_pod(1, log),))["message"]
    tail = message.partition("The end of its log: ")[2]
    assert (tail.splitlines()[0][:5], tail.splitlines()[-1]) == ("line ", "line 499")
    assert len(message) < 1024


def test_a_log_of_one_endless_line_shows_its_end() -> None:
    message = _failure(pods=(world.a_finished_pod(1, "x" * 5000 + "end"),))["message"]
    assert message.endswith("xend")


def test_credentials_in_a_log_do_not_reach_the_status() -> None:
    log = "GET https://user:hunter2@host.example/data.parquet?X-Signature=abc failed"
    message = _failure(pods=(world.a_finished_pod(1, log),))["message"]
    assert message.endswith("GET https://host.example/data.parquet failed")


def test_who_stopped_the_trainer_is_told_before_what_it_says_of_it_itself() -> None:
    failure = {"reason": "Interrupted", "message": "asked to stop", "hint": "", "retryable": True}
    report = json.dumps(world.a_report("Failed", failure=failure))
    pod = _disrupted("PreemptionByScheduler", "no room")
    pod["status"]["containerStatuses"][1]["state"]["terminated"]["message"] = report
    assert failure_of_attempt(pod, world.a_look(world.started()), 1).reason == "Preempted"
