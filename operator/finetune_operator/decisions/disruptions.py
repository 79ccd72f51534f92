"""Why a pod was taken off its node: through no fault of its own, so that it uses up no retry."""

import re
from dataclasses import dataclass

from finetune_operator.decisions.exits import RERUN
from finetune_operator.decisions.objects import name_of, true_condition
from finetune_operator.decisions.observed import Object
from finetune_operator.decisions.texts import next_step, sentence, without_credentials

_LOST = {"Evicted", "NodeLost", "Shutdown", "Terminated", "NodeShutdown", "Preempting"}
"""Reasons in a pod's status, of kubelets too old or too hurried to set the condition as well."""


@dataclass(frozen=True)
class Disruption:
    """One reason."""

    reason: str
    message: str
    hint: str


@dataclass(frozen=True)
class Known:
    reason: str
    what: str
    you: str = ""
    platform: str = ""


# Reason in the pod's status, or of its condition DisruptionTarget.
KNOWN = {
    "Evicted": Known("Evicted", "was evicted by its node"),
    "Preempting": Known("Preempted", "made way for a pod that the node cannot do without"),
    "Terminated": Known("NodeShutdown", "was stopped, because its node shuts down"),
    "Shutdown": Known("NodeShutdown", "was stopped, because its node shuts down"),
    "NodeShutdown": Known("NodeShutdown", "was stopped, because its node shuts down"),
    "NodeLost": Known("NodeLost", "is lost with its node", platform="see what became of the node"),
    "PreemptionByScheduler": Known(
        "Preempted", "made way for a pod of higher priority",
        you="give it a higher spec.runtime.pod.priorityClassName", platform="or add a node",
    ),
    "EvictionByEvictionAPI": Known(
        "Drained", "was evicted through the API, as when a node is drained",
        platform="a PodDisruptionBudget would have held it back",
    ),
    "DeletionByTaintManager": Known(
        "NodeTainted", "was taken off its node because of a NoExecute taint",
        platform="see `kubectl describe node`: it may be out of order, or no longer answer",
    ),
    "DeletionByDeviceTaintManager": Known(
        "NodeTainted", "was taken off its node, because one of its devices is tainted",
        platform="see the taints of the node's devices",
    ),
    "DeletionByPodGC": Known(
        "NodeLost", "is lost with its node", platform="see what became of the node"
    ),
}  # fmt: skip
_SCARCE = (
    (r"ephemeral|disk|EmptyDir|inode", "ask for enough in spec.runtime.resources.requests.ephemeral-storage"),
    (r"memory", "ask for enough in spec.runtime.resources.requests.memory"),
)  # fmt: skip


def is_disrupted(pod: Object) -> bool:
    return true_condition(pod, "DisruptionTarget") is not None or _reason_in_status(pod) in _LOST


def disruption_of(pod: Object) -> Disruption:
    """Of a pod for which `is_disrupted` holds."""
    condition = true_condition(pod, "DisruptionTarget") or {}
    # The kubelet's own condition says no more than that it was the kubelet.
    key = _reason_in_status(pod) if _reason_in_status(pod) in KNOWN else condition.get("reason")
    known = KNOWN.get(str(key), Known("Interrupted", "was taken off its node"))
    told = without_credentials(
        pod["status"].get("message") or condition.get("message") or "no reason is given"
    )
    scarce = next((step for pattern, step in _SCARCE if re.search(pattern, told, re.IGNORECASE)), "")
    you = known.you or (scarce if known.reason == "Evicted" else "")
    message = f"Pod {name_of(pod)}{_on_node(pod)} {known.what}: {sentence(told)}"
    hint = next_step(you=f"{you}, or {RERUN}" if you else RERUN, platform=known.platform)
    return Disruption(known.reason, message, hint)


def _reason_in_status(pod: Object) -> str:
    return str((pod.get("status") or {}).get("reason") or "")


def _on_node(pod: Object) -> str:
    node = (pod.get("spec") or {}).get("nodeName")
    return f" on node {node}" if node else ""
