"""Events about a finetune: one when its conditions say something new, none when they say the same again.

Pure: two statuses in, Events out. Everything in an Event also stands in status, where machines read it.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from finetune_api import names
from finetune_operator.decisions.gate_rules import GATES_CHANGED
from finetune_operator.decisions.job_rules import SETTINGS_CHANGED, STARTING
from finetune_operator.decisions.objects import format_time, name_of, uid_of
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
    note: str


def announcements(before: dict[str, Any], after: dict[str, Any]) -> list[Announcement]:
    """What is new in `after`, in the order in which it came about."""
    found = []
    run, former = after.get("run") or {}, before.get("run") or {}
    if run.get("startTime") and (run["job"], True) != (former.get("job"), bool(former.get("startTime"))):
        found.append(Announcement("Normal", "Started", f"Run {run['number']} started as Job {run['job']}"))
    for condition in after.get("conditions") or []:
        if condition["status"] == "True" and _said(condition, before) != condition["reason"]:
            found += _announce(condition)
    return found


def _announce(condition: dict[str, Any]) -> list[Announcement]:
    reason, note = condition["reason"], clip(condition.get("message") or condition["reason"], MAX_NOTE)
    match condition["type"]:
        case "Stalled":
            return [Announcement("Warning", reason, note)]
        case "Ready" | "Suspended":
            return [Announcement("Normal", reason, note)]
        case "Reconciling" if reason not in QUIET:
            return [Announcement("Normal" if reason in ASKED_FOR else "Warning", reason, note)]
    return []


def _said(condition: dict[str, Any], before: dict[str, Any]) -> str | None:
    """The reason of the same condition, if it was True for the same generation or an earlier one."""
    for former in before.get("conditions") or []:
        if former["type"] == condition["type"] and former["status"] == "True":
            return str(former["reason"])
    return None


def build_event(finetune: Object, announcement: Announcement, now: datetime) -> Object:
    """A core/v1 Event. Its name is made by the API server: announcements are never posted twice."""
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"namespace": finetune["metadata"]["namespace"], "generateName": f"{name_of(finetune)}-"},
        "involvedObject": {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "namespace": finetune["metadata"]["namespace"],
            "name": name_of(finetune),
            "uid": uid_of(finetune),
        },
        "type": announcement.type,
        "reason": announcement.reason,
        "message": announcement.note,
        "source": {"component": names.MANAGED_BY},
        "reportingComponent": names.MANAGED_BY,
        "firstTimestamp": format_time(now),
        "lastTimestamp": format_time(now),
        "count": 1,
    }
