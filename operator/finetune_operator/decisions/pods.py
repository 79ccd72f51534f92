"""What the state of a run's pods means: which one counts, whether it runs, and why it does not."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from finetune_api.exit_codes import USER_ERRORS, ExitCode
from finetune_api.report import Report
from finetune_api.run_file import CONTAINER
from finetune_operator.decisions.objects import created_at, is_being_deleted, name_of, parse_time, uid_of
from finetune_operator.decisions.observed import Object
from finetune_operator.decisions.texts import sentence, without_credentials

_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_LAST_CODES = (ExitCode.DONE, *USER_ERRORS)
_COMING_UP = ("ContainerCreating", "PodInitializing")


@dataclass(frozen=True)
class Problem:
    """Why a pod does not start."""

    reason: str
    message: str
    hint: str
    """The next step."""

    @property
    def text(self) -> str:
        return f"{sentence(self.message)} {self.hint}"


# What others write about a pod that does not start -> reason, what it means, next step. First hit decides.
_KNOWN = (
    (r'persistentvolumeclaim "([^"]+)" not found', "ClaimMissing",
     "PersistentVolumeClaim {0} does not exist in this namespace",
     "Create it, or correct the pvc:// URI; the run goes on by itself once it is there."),
    (r"unbound immediate PersistentVolumeClaims", "ClaimNotBound",
     "A PersistentVolumeClaim of this run is not bound to a volume yet",
     "See `kubectl get pvc`; the run goes on by itself once it is bound."),
    (r'secret "([^"]+)" not found', "SecretMissing",
     "Secret {0} does not exist in this namespace",
     "Create it, or correct the secretRef; the run goes on by itself once it is there."),
    (r"exceeded quota: (.+)", "QuotaExceeded",
     "A ResourceQuota of this namespace has no room for the pod: {0}",
     "Raise the quota, wait until others end, or ask for less in spec.runtime."),
    (r"(violates PodSecurity .+)", "PodSecurityViolation",
     "The namespace's Pod Security level refuses the pod: it {0}",
     "Correct the namespace's labels; the trainer's pods fit the level restricted."),
    (r"(admission webhook .+|ValidatingAdmissionPolicy .+)", "AdmissionDenied",
     "The cluster's policies refuse the pod: {0}",
     "Correct the policy, or what it objects to in spec.runtime."),
)  # fmt: skip

# Reasons whose message is shown as it is -> next step.
_HINTS = {
    "Unschedulable": "Make room on a node, or ask for less in spec.runtime.",
    "ImagePullBackOff": "Check that spec.runtime.image (absent: the operator's) exists and may be pulled.",
    "InvalidImageName": "Correct spec.runtime.image.",
    "FailedCreate": "Correct what the message names; the run goes on by itself.",
    "FailedMount": "Correct what the message names; the run goes on by itself.",
}
_PLAIN_HINT = "See `kubectl describe pod` for more."


def unfinished_pod(pods: Sequence[Object]) -> Object | None:
    """The newest pod that has not ended; None between two attempts."""
    unfinished = [p for p in pods if not is_finished(p)]
    return max(unfinished, key=lambda p: (created_at(p) or _LONG_AGO, name_of(p)), default=None)


def is_finished(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in {"Succeeded", "Failed"}


def newest_finished(pods: Sequence[Object]) -> Object | None:
    """The pod that ended last; one that succeeded goes before all others."""
    finished = [p for p in pods if is_finished(p)]
    return max(finished, key=_end_order, default=None)


def _end_order(pod: Object) -> tuple[bool, datetime, str]:
    return pod["status"]["phase"] == "Succeeded", end_time(pod) or created_at(pod) or _LONG_AGO, name_of(pod)


def end_time(pod: Object) -> datetime | None:
    """When the trainer's container ended."""
    return parse_time(terminated(pod).get("finishedAt"))


def terminated(pod: Object) -> dict[str, Any]:
    """How the trainer's container ended; empty when it did not, or never began."""
    return _container_state(pod).get("terminated") or {}


def ends_its_job(pod: Object) -> bool:
    """Whether no other attempt follows: the trainer ended well, or with what only the user can mend."""
    return terminated(pod).get("exitCode") in _LAST_CODES


def started_at(pod: Object) -> datetime | None:
    """When the trainer's container began to run; None while it does not run."""
    return parse_time((_container_state(pod).get("running") or {}).get("startedAt"))


def is_running(pod: Object) -> bool:
    return "running" in _container_state(pod)


def _container_state(pod: Object) -> dict[str, Any]:
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    return next((s.get("state") or {} for s in statuses if s.get("name") == CONTAINER), {})


def report_in(pod: Object, *, uid: str, run: int) -> Report | None:
    """The Report that this pod left as termination message, if it is of this finetune and run."""
    try:
        report = Report.model_validate_json(terminated(pod).get("message") or "")
    except ValidationError:
        return None
    return report if (report.uid, report.run) == (uid, run) else None


def problem_of(job: Object, pod: Object | None, events: Sequence[Object]) -> Problem | None:
    """Why the newest pod does not start, or why there is none; None when nothing speaks against it.

    The pod's own state goes before Events, which stay for an hour and may be of the past.
    """
    if pod is None:
        return _from_events(events, uid_of(job))
    if is_being_deleted(pod):
        return None
    return _from_scheduler(pod) or _from_container(pod) or _from_events(events, uid_of(pod))


def _from_scheduler(pod: Object) -> Problem | None:
    conditions = (pod.get("status") or {}).get("conditions") or []
    told = (c for c in conditions if (c.get("type"), c.get("reason")) == ("PodScheduled", "Unschedulable"))
    condition = next(told, None)
    return _problem("Unschedulable", condition.get("message") or "", about=pod) if condition else None


def _from_container(pod: Object) -> Problem | None:
    waiting = _container_state(pod).get("waiting") or {}
    reason = waiting.get("reason") or ""
    if not reason or reason in _COMING_UP:
        return None
    # The kubelet goes back and forth between these two; one word for both keeps the status still.
    if reason == "ErrImagePull":
        reason = "ImagePullBackOff"
    return _problem(reason, waiting.get("message") or "", about=pod)


def _from_events(events: Sequence[Object], uid: str) -> Problem | None:
    """Only the newest Event counts: a warning before it may be mended already."""
    about = [e for e in events if (e.get("involvedObject") or {}).get("uid") == uid]
    newest = max(about, key=_event_order, default=None)
    if newest is None or newest.get("type") != "Warning":
        return None
    reason = newest.get("reason") or ""
    return _problem("Unschedulable" if reason == "FailedScheduling" else reason, newest.get("message") or "")


def _event_order(event: Object) -> tuple[datetime, bool]:
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    seen = max((t for t in map(parse_time, times) if t), default=_LONG_AGO)
    return seen, event.get("type") == "Warning"


def _problem(reason: str, text: str, about: Object | None = None) -> Problem:
    text = without_credentials(text)
    for pattern, known_reason, message, hint in _KNOWN:
        if match := re.search(pattern, text):
            return Problem(known_reason, message.format(*match.groups()), hint)
    letters = re.sub(r"[^A-Za-z]", "", reason)[:60]
    reason = f"{letters[:1].upper()}{letters[1:]}" if len(letters) > 1 else "PodNotStarting"
    who = f"Pod {name_of(about)}" if about else "The run's pod"
    return Problem(reason, f"{who} does not start: {text or reason}", _HINTS.get(reason, _PLAIN_HINT))
