"""What no role of the operator may ever hold."""

from collections.abc import Iterator
from typing import Any

FORBIDDEN_VERBS = {"escalate", "bind", "impersonate", "*"}
FORBIDDEN_RESOURCES = {
    "*", "pods/exec", "pods/attach", "pods/portforward", "pods/ephemeralcontainers", "serviceaccounts/token",
    "nodes/proxy", "certificatesigningrequests/approval", "namespaces", "persistentvolumes", "deployments",
}  # fmt: skip
FORBIDDEN_GROUPS = {"*", "rbac.authorization.k8s.io", "admissionregistration.k8s.io", "apiextensions.k8s.io"}


def violations(role: dict[str, Any]) -> Iterator[str]:
    """What is wrong with a Role or ClusterRole, in words."""
    for rule in role["rules"]:
        verbs, resources = set(rule["verbs"]), set(rule.get("resources", []))
        for found in (
            verbs & FORBIDDEN_VERBS,
            resources & FORBIDDEN_RESOURCES,
            set(rule.get("apiGroups", [])) & FORBIDDEN_GROUPS,
        ):
            yield from (
                f"{role['kind']} {role['metadata']['name']} must not have {word}" for word in sorted(found)
            )
        if "nonResourceURLs" in rule:
            yield f"{role['kind']} {role['metadata']['name']} must not have nonResourceURLs"
        if "secrets" in resources and (role["kind"] == "ClusterRole" or not rule.get("resourceNames")):
            yield "secrets must stand in a Role, by resourceNames"
        if "serviceaccounts" in resources and verbs != {"get"}:
            yield f"serviceaccounts must have get alone, found {sorted(verbs)}"
        if "secrets" in resources and not verbs <= {"get", "update"}:
            yield f"secrets must have get and update alone, found {sorted(verbs)}"
