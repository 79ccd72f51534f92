"""Why a run failed that left no Report: from the Job's condition, the pod's end and its exit code."""

import re
from collections.abc import Sequence

from finetune_api.exit_codes import ExitCode
from finetune_api.status import Failure
from finetune_operator.decisions.attempts import report_of
from finetune_operator.decisions.jobs import end_of, is_complete
from finetune_operator.decisions.objects import name_of, true_condition
from finetune_operator.decisions.observed import Object, Observed
from finetune_operator.decisions.pods import newest_finished, terminated
from finetune_operator.decisions.texts import clip, log_tail, sentence, without_credentials

MAX_MESSAGE = 1024
MAX_HINT = 512
LOG_TAIL = 700
"""Characters of the log that a message may take, so that what was found stands before it."""

_SPEC = "Correct the spec: the change starts the next run."
_AGAIN = "Any change of the spec starts the next run."
_MEMORY = (
    "Raise spec.runtime.resources.limits.memory, or lower spec.training.batchSize,"
    " spec.model.maxSeqLength or the processor's pixels."
)

# Exit code -> reason, what it means, next step, whether the same spec may work another time.
_BY_CODE: dict[int, tuple[str, str, str, bool]] = {
    ExitCode.DONE: ("ReportMissing", "the trainer ended well but left no Report", _AGAIN, True),
    ExitCode.INTERNAL: ("InternalError", "an error nobody foresaw", _AGAIN, True),
    ExitCode.USAGE: (
        "TrainerMismatch", "the image did not understand its command",
        "Use a trainer image of the operator's version in spec.runtime.image.", False,
    ),
    ExitCode.BAD_SPEC: ("InvalidSpec", "the trainer cannot work by this spec", _SPEC, False),
    ExitCode.BAD_DATA: (
        "InvalidData", "the data are not what the spec says", "Correct spec.data or the data.", False,
    ),
    ExitCode.BAD_MODEL: (
        "InvalidModel", "the model cannot be used", "Correct spec.model or the model.", False,
    ),
    ExitCode.NO_ACCESS: (
        "NoAccess", "a source or the target refused", "Correct the Secret that the secretRef names.", False,
    ),
    ExitCode.TARGET_IN_USE: (
        "TargetInUse", "the target holds the models of another finetune",
        "Choose another spec.output.uri.", False,
    ),
    ExitCode.SOURCE_UNAVAILABLE: ("SourceUnavailable", "a source did not answer or broke off", _AGAIN, True),
    ExitCode.OUT_OF_MEMORY: ("OutOfMemory", "memory ran out", _MEMORY, False),
    ExitCode.STORAGE: ("StorageFailed", "a disk is full or read-only", f"Make room there. {_AGAIN}", True),
    ExitCode.INTERRUPTED: ("Interrupted", "it was stopped by a signal", _AGAIN, True),
}  # fmt: skip


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
    """Why this finished pod of that run failed: its Report knows more than the cluster."""
    report = report_of(pod, observed, run)
    return (report.failure if report else None) or failure_of_pod(pod)


def failure_of_pod(pod: Object) -> Failure:
    """Why this finished pod failed, from what the cluster knows of it."""
    status, state = pod["status"], terminated(pod)
    who = f"Pod {name_of(pod)}"
    if _was_disrupted(pod):
        told = status.get("message") or (true_condition(pod, "DisruptionTarget") or {}).get("message")
        message = (
            f"{who} was taken off its node: {sentence(without_credentials(told or 'no reason is given'))}"
        )
        return _failure(
            "Evicted" if status.get("reason") == "Evicted" else "Interrupted", message, _AGAIN, True
        )
    if state.get("reason") == "OOMKilled":
        return _failure(
            "OutOfMemory", f"{who} was killed: it used more memory than its limit.", _MEMORY, False
        )
    if "exitCode" not in state:
        why = status.get("message") or status.get("reason") or "the cluster gives no reason"
        return _failure("PodFailed", f"{who} failed before its trainer ran: {sentence(why)}", _AGAIN, True)
    if state.get("reason") in {"StartError", "ContainerCannotRun"}:
        message = f"{who} could not start its trainer: {sentence(state.get('message') or '')}"
        return _failure("TrainerMismatch", message, _BY_CODE[ExitCode.USAGE][2], False)
    return _by_exit_code(who, state["exitCode"], state.get("message") or "")


def _was_disrupted(pod: Object) -> bool:
    lost = pod["status"].get("reason") in {"Evicted", "NodeLost", "Shutdown", "Terminated"}
    return lost or true_condition(pod, "DisruptionTarget") is not None


def _by_exit_code(who: str, code: int, log: str) -> Failure:
    reason, meaning, hint, retryable = _BY_CODE.get(code) or _by_signal(code)
    tail = log_tail(log, LOG_TAIL)
    message = f"{who} ended with exit code {code}: {meaning}."
    return _failure(reason, f"{message} The end of its log: {tail}" if tail else message, hint, retryable)


def _by_signal(code: int) -> tuple[str, str, str, bool]:
    if 128 < code < 160:
        return (
            "Killed",
            f"it was killed by signal {code - 128}",
            f"The node may be out of memory. {_AGAIN}",
            True,
        )
    return "UnknownExitCode", "the trainer knows no such code", f"Check spec.runtime.image. {_AGAIN}", False


def _failure(reason: str, message: str, hint: str, retryable: bool) -> Failure:
    return Failure(
        reason=reason, message=clip(message, MAX_MESSAGE), hint=clip(hint, MAX_HINT), retryable=retryable
    )


def _word(text: str, otherwise: str) -> str:
    """A reason of the cluster's as one of ours: letters only, capital first."""
    return text if re.fullmatch(r"[A-Z][A-Za-z]{1,62}", text) else otherwise
