"""What a kubelet would write into a pod's status.

PURE: the states of the containers in, the status out. The conditions keep the time of their last change.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.cluster.client import Dict
from tests.cluster.node.times import seconds_text

HOST = "127.0.0.1"


@dataclass(frozen=True)
class ContainerView:
    """One container as the status shows it."""

    name: str
    image: str
    state: Dict
    """`waiting`, `running` or `terminated`, as in the API."""
    last_state: Dict = field(default_factory=dict)
    container_id: str = ""
    restarts: int = 0
    restarts_again: bool = True
    """Whether an end of it would be followed by another start."""

    @property
    def is_running(self) -> bool:
        return "running" in self.state

    @property
    def is_finished(self) -> bool:
        return "terminated" in self.state and not self.restarts_again

    @property
    def has_succeeded(self) -> bool:
        return self.is_finished and self.state["terminated"]["exitCode"] == 0

    @property
    def has_started(self) -> bool:
        return "waiting" not in self.state or bool(self.last_state)


def phase_of(inits: Sequence[ContainerView], containers: Sequence[ContainerView]) -> str:
    """Pending, Running, Succeeded or Failed."""
    if any(each.is_finished and not each.has_succeeded for each in inits):
        return "Failed"
    if not all(each.has_succeeded for each in inits):
        return "Pending"
    if all(each.is_finished for each in containers):
        return "Succeeded" if all(each.has_succeeded for each in containers) else "Failed"
    return "Running" if any(each.has_started for each in containers) else "Pending"


def build_status(
    inits: Sequence[ContainerView],
    containers: Sequence[ContainerView],
    *,
    phase: str,
    started_at: dt.datetime,
    volumes_ready: bool,
) -> Dict:
    """All but the conditions' times, which `with_times` adds."""
    initialized = all(each.has_succeeded for each in inits)
    ready = all(each.is_running for each in containers)
    completed = "PodCompleted" if phase == "Succeeded" else "PodFailed" if phase == "Failed" else ""
    unready = [each.name for each in containers if not each.is_running]
    why = (
        {"reason": completed}
        if completed
        else {"reason": "ContainersNotReady", "message": _not_ready(unready)}
    )
    incomplete = [each.name for each in inits if not each.has_succeeded]
    uninitialized = {
        "reason": "ContainersNotInitialized",
        "message": f"containers with incomplete status: [{' '.join(incomplete)}]",
    }
    succeeded = {"reason": completed} if phase == "Succeeded" else {}
    return {
        "phase": phase,
        "conditions": [
            _condition("PodReadyToStartContainers", holds=volumes_ready and not completed),
            _condition("Initialized", holds=initialized, **(succeeded if initialized else uninitialized)),
            _condition("Ready", holds=ready, **({} if ready else why)),
            _condition("ContainersReady", holds=ready, **({} if ready else why)),
        ],
        "hostIP": HOST,
        "hostIPs": [{"ip": HOST}],
        "startTime": seconds_text(started_at),
        **({"podIP": HOST, "podIPs": [{"ip": HOST}]} if volumes_ready else {}),
        **(
            {"initContainerStatuses": [_container(each, ready=each.has_succeeded) for each in inits]}
            if inits
            else {}
        ),
        "containerStatuses": [_container(each, ready=each.is_running) for each in containers],
    }


def with_times(status: Dict, previous: Dict, moment: dt.datetime) -> Dict:
    """The status with a transition time on each condition: the old one unless the condition changed."""
    old = {each["type"]: each for each in previous.get("conditions", ())}
    conditions = []
    for condition in status["conditions"]:
        before = old.get(condition["type"])
        changed = before is None or before["status"] != condition["status"]
        time = seconds_text(moment) if before is None or changed else before["lastTransitionTime"]
        conditions.append({**condition, "lastTransitionTime": time})
    return {**status, "conditions": conditions}


def _container(view: ContainerView, *, ready: bool) -> Dict:
    return {
        "name": view.name,
        "image": view.image,
        "imageID": view.image if view.container_id else "",
        "containerID": view.container_id,
        "state": view.state,
        "lastState": view.last_state,
        "ready": ready,
        "started": view.is_running,
        "restartCount": view.restarts,
    }


def _condition(kind: str, *, holds: bool, **more: str) -> Dict:
    # null takes away what an earlier patch wrote
    return {"type": kind, "status": "True" if holds else "False", "reason": None, "message": None, **more}


def _not_ready(names: Sequence[str]) -> str:
    return f"containers with unready status: [{' '.join(names)}]"
