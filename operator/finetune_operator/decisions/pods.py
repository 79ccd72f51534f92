"""What the state of a run's pods means: which one counts, whether it runs, and what it asks for."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from finetune_api import names
from finetune_api.exit_codes import USER_ERRORS, ExitCode
from finetune_api.report import Report
from finetune_api.run_file import CONTAINER
from finetune_operator.decisions.objects import created_at, name_of, parse_time
from finetune_operator.decisions.observed import Object

_LONG_AGO = datetime.min.replace(tzinfo=UTC)
_LAST_CODES = (ExitCode.DONE, *USER_ERRORS)


def unfinished_pod(pods: Sequence[Object]) -> Object | None:
    """The newest pod that has not ended; None between two attempts."""
    unfinished = [p for p in pods if not is_finished(p)]
    return max(unfinished, key=lambda p: (created_at(p) or _LONG_AGO, name_of(p)), default=None)


def works_for(pod: Object, uid: str) -> bool:
    """Whether it is a pod of the finetune of that uid; those made by older operators do not say."""
    return (pod["metadata"].get("labels") or {}).get(names.LABEL_UID) in {None, uid}


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
    return container_state(pod).get("terminated") or {}


def ends_its_job(pod: Object) -> bool:
    """Whether no other attempt follows: the trainer ended well, or with what only the user can mend."""
    return terminated(pod).get("exitCode") in _LAST_CODES


def started_at(pod: Object) -> datetime | None:
    """When the trainer's container began to run; None while it does not run."""
    return parse_time((container_state(pod).get("running") or {}).get("startedAt"))


def is_running(pod: Object) -> bool:
    return "running" in container_state(pod)


def container_state(pod: Object) -> dict[str, Any]:
    """`waiting`, `running` or `terminated` of the trainer's container; empty before any of them."""
    statuses = (pod.get("status") or {}).get("containerStatuses") or []
    return next((s.get("state") or {} for s in statuses if s.get("name") == CONTAINER), {})


def report_in(pod: Object, *, uid: str, run: int) -> Report | None:
    """The Report that this pod left as termination message, if it is of this finetune and run."""
    try:
        report = Report.model_validate_json(terminated(pod).get("message") or "")
    except ValidationError:
        return None
    return report if (report.uid, report.run) == (uid, run) else None


def requests_of(pod: Object) -> dict[str, str]:
    """What the trainer's container asks for, by resource; a limit without a request is one."""
    resources = _container(pod).get("resources") or {}
    asked = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    return {name: str(amount) for name, amount in asked.items()}


def memory_limit_of(pod: Object) -> str | None:
    """Memory that the trainer's container may use at most; None: as much as its node has."""
    limit = ((_container(pod).get("resources") or {}).get("limits") or {}).get("memory")
    return None if limit is None else str(limit)


def image_of(pod: Object) -> str | None:
    """Image of the trainer's container, as the pod asks for it."""
    image = _container(pod).get("image")
    return None if image is None else str(image)


def _container(pod: Object) -> dict[str, Any]:
    containers = (pod.get("spec") or {}).get("containers") or []
    return next((c for c in containers if c.get("name") == CONTAINER), {})
