"""Events about a finetune: one when its conditions say something new, none when they say the same again.

Pure: two statuses in, Events out. Everything in an Event also stands in status, where machines read it.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from finetune_api import names
from finetune_operator.decisions.gate_rules import GATES_CHANGED
from finetune_operator.decisions.job_rules import SETTINGS_CHANGED, STARTING
from finetune_operator.decisions.objects import (
    format_time,
    name_of,
    namespace_of,
    status_written_at,
    uid_of,
)
from finetune_operator.decisions.observed import Object
from finetune_operator.decisions.run_rules import SPEC_CHANGED
from finetune_operator.decisions.running_rules import RUNNING
from finetune_operator.decisions.suspension import QUEUED, RESUMED, RESUMING, SUSPENDING
from finetune_operator.decisions.texts import clip

MAX_NOTE = 1024
# Reasons of a run that goes as it should: its progress is in status, not in Events.
QUIET = {STARTING, RUNNING, SUSPENDING, RESUMING}
# What somebody asked for is no warning.
ASKED_FOR = {SPEC_CHANGED, SETTINGS_CHANGED, GATES_CHANGED, QUEUED, RESUMED}


@dataclass(frozen=True)
class Announcement:
    """What an Event says."""

    type: Literal["Normal", "Warning"]
    reason: str
    action: str
    """What the operator does about it."""
    note: str


def announcements(before: dict[str, Any], after: dict[str, Any]) -> list[Announcement]:
    """What is new in `after`, in the order in which it came about."""
    found = list(_about_the_run(before.get("run") or {}, after.get("run") or {}))
    is_first = (after.get("run") or {}).get("attempt", 0) <= 1
    for condition in after.get("conditions") or []:
        said = _said(condition, before)
        if condition["status"] == "True" and said != condition["reason"]:
            found += _announce(condition, said, is_quiet=said in ASKED_FOR or (said in QUIET and is_first))
    return found


def _about_the_run(before: dict[str, Any], after: dict[str, Any]) -> Iterator[Announcement]:
    if after.get("startTime") and (after["job"], True) != (before.get("job"), bool(before.get("startTime"))):
        yield Announcement(
            "Normal", "Started", "Start", f"Run {after['number']} started as Job {after['job']}."
        )
    if after.get("jobRemoved") and not before.get("jobRemoved"):
        note = f"Job {after['job']} was removed, spec.limits.keepJobSeconds after its end. The numbers stay."
        yield Announcement("Normal", "JobRemoved", "Remove", note)


def _announce(condition: dict[str, Any], said: str | None, *, is_quiet: bool) -> Iterator[Announcement]:
    """said: reason that the condition had before; None when it was not True.

    is_quiet: that the trainer is at work now needs no Event, as nothing else was to be expected.
    """
    reason, note = condition["reason"], clip(condition.get("message") or condition["reason"], MAX_NOTE)
    match condition["type"]:
        case "Stalled":
            yield Announcement("Warning", reason, "GiveUp", note)
        case "Ready":
            yield Announcement("Normal", reason, "Finish", note)
        case "Suspended":
            yield Announcement("Normal", reason, "Suspend", note)
        case "Reconciling" if reason == RUNNING and said is not None and not is_quiet:
            yield Announcement("Normal", reason, "Run", note)
        case "Reconciling" if reason in ASKED_FOR:
            yield Announcement("Normal", reason, "Run", note)
        case "Reconciling" if reason not in QUIET:
            yield Announcement("Warning", reason, "Wait", note)


def _said(condition: dict[str, Any], before: dict[str, Any]) -> str | None:
    """The reason of the same condition, if it was True for the same generation or an earlier one."""
    for former in before.get("conditions") or []:
        if former["type"] == condition["type"] and former["status"] == "True":
            return str(former["reason"])
    return None


def build_event(finetune: Object, announcement: Announcement, now: datetime) -> Object:
    """A core/v1 Event about the finetune as it was read.

    Its name follows from the status that was read and what became of it: a look that is repeated, since its
    status could not be written or its operator ended, makes the same Event, which is there then.
    """
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "namespace": namespace_of(finetune),
            "name": f"{name_of(finetune)}.{_digest(finetune, announcement)}",
        },
        "involvedObject": {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "namespace": namespace_of(finetune),
            "name": name_of(finetune),
            "uid": uid_of(finetune),
        },
        "type": announcement.type,
        "reason": announcement.reason,
        "action": announcement.action,
        "message": announcement.note,
        "source": {"component": names.MANAGED_BY},
        "reportingComponent": names.MANAGED_BY,
        "firstTimestamp": format_time(now),
        "lastTimestamp": format_time(now),
        "count": 1,
    }


def _digest(finetune: Object, announcement: Announcement) -> str:
    written = status_written_at(finetune)
    parts = (uid_of(finetune), format_time(written) if written else "", announcement.reason)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
