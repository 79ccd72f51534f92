"""One pod of a run as an attempt: how long it ran, how it ended, and how far it came."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from finetune_api.exit_codes import USER_ERRORS, ExitCode
from finetune_api.report import Report
from finetune_api.status import Run
from finetune_operator.decisions.jobs import end_of, is_complete
from finetune_operator.decisions.objects import (
    created_at,
    format_time,
    is_being_deleted,
    name_of,
    parse_time,
    true_condition,
    uid_of,
)
from finetune_operator.decisions.observed import LiveProgress, Object, Observed
from finetune_operator.decisions.pods import end_time, is_finished, report_in, started_at, terminated

Fate = Literal["Done", "Refused", "Failed", "Interrupted", "Suspended", "Stopped"]
"""Refused: by an error that only the user can mend. Suspended: by spec.suspend. Stopped: by the operator, for
good. The rest is as in `Run`."""


@dataclass(frozen=True)
class Attempt:
    """What can be seen of it."""

    name: str
    made: str
    """When its pod was made; empty when nobody knows."""
    seconds: int
    """That it has run; at least 1 once it runs, 0 before."""
    end: datetime
    """When it ended or was found gone; now while it goes on."""
    fate: Fate | None
    """None while it goes on."""
    live: LiveProgress | None
    """What it reported itself."""
    checkpoint: int | None
    """Step of the newest checkpoint, as its Report says."""

    @property
    def age(self) -> tuple[str, str]:
        """Orders the attempts of a run."""
        return self.made, self.name

    @property
    def step(self) -> int | None:
        """Training step that it reported last."""
        return self.live.progress.step if self.live and self.live.progress else None


def attempt_of(pod: Object, observed: Observed, run: Run) -> Attempt:
    """The attempt of a pod that is still there."""
    made, live, report = created_at(pod), observed.live, report_of(pod, observed, run.number)
    start = started_at(pod) or parse_time(terminated(pod).get("startedAt"))
    end = end_time(pod) or observed.now
    ran = (end - start).total_seconds() if start else 0
    return Attempt(
        name=name_of(pod),
        made=format_time(made) if made else "",
        seconds=max(1, int(ran)) if start else 0,
        end=end,
        fate=_fate(pod, observed) if is_finished(pod) else None,
        live=live if live is not None and live.pod_uid == uid_of(pod) else None,
        checkpoint=report.checkpoint_step if report else None,
    )


def vanished_attempt(observed: Observed, run: Run) -> Attempt:
    """The newest attempt of the run, of which no pod is left: what it had posted speaks for it."""
    there = {uid_of(pod) for pod in observed.pods}
    live, posted, step = observed.live, observed.report, None
    if live is not None and (live.pod_uid in there or format_time(live.received_at) < (run.pod_time or "")):
        live = None
    if posted is not None and posted.pod_uid not in there and posted.report.run == run.number:
        step = posted.report.checkpoint_step
    return Attempt(
        name=run.pod or "",
        made=run.pod_time or "",
        seconds=run.pod_seconds,
        end=observed.now,
        fate=_fate_without_pod(observed),
        live=live,
        checkpoint=step if step is not None and step > (run.checkpoint_step or 0) else None,
    )


def report_of(pod: Object, observed: Observed, run: int) -> Report | None:
    """The Report that this pod left as termination message or, if it did not, has posted."""
    uid, posted = uid_of(observed.finetune), observed.report
    left = report_in(pod, uid=uid, run=run)
    if left is not None or posted is None or posted.pod_uid != uid_of(pod):
        return left
    return posted.report if (posted.report.uid, posted.report.run) == (uid, run) else None


def was_interrupted(pod: Object) -> bool:
    """Whether a pod that did not succeed was stopped from outside."""
    is_disrupted = true_condition(pod, "DisruptionTarget") is not None or is_being_deleted(pod)
    return is_disrupted or terminated(pod).get("exitCode") == ExitCode.INTERRUPTED


def _fate(pod: Object, observed: Observed) -> Fate:
    code = terminated(pod).get("exitCode")
    if pod["status"]["phase"] == "Succeeded" or code == ExitCode.DONE:
        return "Done"
    if was_interrupted(pod):
        return _interrupted(observed)
    return "Refused" if code in USER_ERRORS else "Failed"


def _fate_without_pod(observed: Observed) -> Fate:
    job = observed.job
    if job is not None and end_of(job) is not None:
        return "Done" if is_complete(job) else "Failed"
    return _interrupted(observed)


def _interrupted(observed: Observed) -> Fate:
    return "Suspended" if observed.finetune["spec"].get("suspend") is True else "Interrupted"
