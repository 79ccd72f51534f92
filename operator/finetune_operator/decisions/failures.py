"""Why a run failed that left no Report: from the Job's condition, the pod's end and its exit code."""

import re
from collections.abc import Sequence

from finetune_api.results import Failure
from finetune_operator.decisions.attempts import report_of
from finetune_operator.decisions.disruptions import disruption_of, is_disrupted
from finetune_operator.decisions.exits import OUT_OF_MEMORY, RERUN, WRONG_IMAGE, exit_of
from finetune_operator.decisions.jobs import end_of, is_complete
from finetune_operator.decisions.objects import is_being_deleted, name_of
from finetune_operator.decisions.observed import Object, Observed
from finetune_operator.decisions.pods import memory_limit_of, newest_finished, terminated
from finetune_operator.decisions.texts import clip, log_tail, next_step, sentence, without_credentials

MAX_MESSAGE = 1024
MAX_HINT = 512
LOG_TAIL = 700
"""Characters of the log that a message may take, so that what was found stands before it."""

INTERRUPTED = "Interrupted"
_SIGNALLED = 128
"""Codes above it: ended by a signal."""
_AGAIN = next_step(you=RERUN)


def failure_without_report(job: Object, pods: Sequence[Object]) -> Failure:
    """Why this finished Job failed, told by its last pod or, when that is gone, by the Job itself."""
    pod = newest_finished(pods)
    if pod is not None:
        return failure_of_pod(pod)
    end = end_of(job) or {}
    if is_complete(job):
        return _failure(
            "ReportMissing",
            f"Job {name_of(job)} is complete, but its pod is gone and left no Report.",
            _AGAIN,
            True,
        )
    text = end.get("message") or "its condition says no more"
    if match := re.search(r"failed with exit code (\d+)", text):
        return _by_exit_code(f"The trainer of Job {name_of(job)}", int(match[1]), "")
    message = (
        f"Job {name_of(job)} failed: {sentence(without_credentials(text))} No pod of it is left to tell why."
    )
    return _failure(_word(end.get("reason") or "", "JobFailed"), message, _AGAIN, True)


def failure_of_attempt(pod: Object, observed: Observed, run: int) -> Failure:
    """Why this finished pod of that run failed: its Report knows more than the cluster.

    But not who asked the trainer to stop.
    """
    report = report_of(pod, observed, run)
    failure = report.failure if report else None
    if failure is None or (failure.reason == INTERRUPTED and is_disrupted(pod)):
        return failure_of_pod(pod)
    return failure


def failure_of_pod(pod: Object) -> Failure:
    """Why this finished pod failed, from what the cluster knows of it."""
    state, who = terminated(pod), f"Pod {name_of(pod)}"
    if is_disrupted(pod):
        disruption = disruption_of(pod)
        return _failure(disruption.reason, disruption.message, disruption.hint, True)
    if state.get("reason") == "OOMKilled":
        limit = memory_limit_of(pod)
        wanted = f"its limit of {limit}" if limit else "its node has left, as it has no limit of its own"
        message = f"{who} was killed: it wanted more memory than {wanted}."
        return _failure("HostOutOfMemory", message, OUT_OF_MEMORY, False)
    if "exitCode" not in state:
        return _rejected(pod)
    if is_being_deleted(pod) and state["exitCode"] > _SIGNALLED:
        return _failure(INTERRUPTED, f"{who} was deleted while its trainer was at work.", _AGAIN, True)
    if state.get("reason") in {"StartError", "ContainerCannotRun"}:
        told = without_credentials(state.get("message") or "the node says no more")
        return _failure(
            "TrainerMismatch", f"{who} could not start its trainer: {sentence(told)}", WRONG_IMAGE, False
        )
    return _by_exit_code(who, state["exitCode"], state.get("message") or "")


def _rejected(pod: Object) -> Failure:
    """The node would not have it, or lost it before its trainer ran."""
    status = pod["status"]
    told = status.get("message") or status.get("reason") or "the cluster gives no reason"
    message = f"Pod {name_of(pod)} failed before its trainer ran: {sentence(without_credentials(told))}"
    hint = next_step(you=RERUN, platform="see the log of the node's kubelet")
    return _failure("PodFailed", message, hint, True)


def _by_exit_code(who: str, code: int, log: str) -> Failure:
    end, tail = exit_of(code), log_tail(log, LOG_TAIL)
    message = f"{who} ended with exit code {code}: {end.meaning}."
    message = f"{message} The end of its log: {tail}" if tail else message
    return _failure(end.reason, message, end.hint, end.is_retryable)


def _failure(reason: str, message: str, hint: str, retryable: bool) -> Failure:
    return Failure(
        reason=reason, message=clip(message, MAX_MESSAGE), hint=clip(hint, MAX_HINT), retryable=retryable
    )


def _word(text: str, otherwise: str) -> str:
    """A reason of the cluster's as one of ours: letters only, capital first."""
    return text if re.fullmatch(r"[A-Z][A-Za-z]{1,62}", text) else otherwise
