"""How kstatus (Flux, `kubectl wait` of many tools) reads a custom resource.

Source: kubernetes-sigs/cli-utils, pkg/kstatus/status/{status,generic,core}.go; the first match wins.
"""

from typing import Any, Literal

Kstatus = Literal["Terminating", "InProgress", "Failed", "Current"]


def kstatus(resource: dict[str, Any]) -> Kstatus:
    metadata, status = resource["metadata"], resource.get("status") or {}
    if metadata.get("deletionTimestamp"):
        return "Terminating"
    if "observedGeneration" in status and status["observedGeneration"] != metadata["generation"]:
        return "InProgress"
    conditions = status.get("conditions") or []
    for condition in conditions:
        if condition["status"] == "True" and condition["type"] in {"Reconciling", "Stalled"}:
            return "InProgress" if condition["type"] == "Reconciling" else "Failed"
    ready = next((c for c in conditions if c["type"] == "Ready"), None)
    return "Current" if ready is None or ready["status"] == "True" else "InProgress"
