"""Least privilege, on the rendered roles; that it suffices is shown by everything that runs under them."""

from typing import Any

import pytest

from tests.chart.objects import of_kind, the
from tests.chart.rbac import violations

pytestmark = pytest.mark.timeout(1800)  # helm may have to be built first
NAME = "embedding-finetune-operator"
Objects = list[dict[str, Any]]


def test_no_role_of_the_operator_holds_what_is_forbidden(rendered: Objects) -> None:
    for role in (the(rendered, "ClusterRole", NAME), the(rendered, "Role", NAME)):
        assert list(violations(role)) == []


@pytest.mark.parametrize(
    "planted",
    [
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["pods/exec"], "verbs": ["create"]},
        {"apiGroups": ["*"], "resources": ["jobs"], "verbs": ["get"]},
        {"apiGroups": ["batch"], "resources": ["*"], "verbs": ["get"]},
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["*"]},
        {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"], "verbs": ["create"]},
        {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"]},
        {"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]},
        {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["patch"]},
        {"nonResourceURLs": ["/debug"], "verbs": ["get"]},
    ],
    ids=lambda rule: " ".join(rule.get("resources", ["url"]) + rule["verbs"]),
)
def test_a_planted_right_is_found(rendered: Objects, planted: dict[str, Any]) -> None:
    role = the(rendered, "ClusterRole", NAME)
    assert list(violations({**role, "rules": [*role["rules"], planted]}))


@pytest.mark.parametrize("verbs", [["get", "list"], ["get", "watch"], ["get", "delete"]], ids=" ".join)
def test_even_the_named_secret_can_only_be_read_and_replaced(rendered: Objects, verbs: list[str]) -> None:
    rule = {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["a"], "verbs": verbs}
    assert list(violations({**the(rendered, "Role", NAME), "rules": [rule]}))


def test_roles_are_bound_to_the_operators_account_alone(rendered: Objects) -> None:
    account = {"kind": "ServiceAccount", "name": NAME, "namespace": "embedding-finetune-system"}
    bindings = of_kind(rendered, "ClusterRoleBinding") + of_kind(rendered, "RoleBinding")
    assert [(b["roleRef"]["name"], b["subjects"]) for b in bindings] == [(NAME, [account])] * 2


def test_the_named_secret_and_lease_are_those_the_operator_is_told(rendered: Objects) -> None:
    (deployment,) = of_kind(rendered, "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    told = {e["name"]: e.get("value") for e in container["env"]}
    named = {
        tuple(r["resources"]): r.get("resourceNames")
        for r in the(rendered, "Role", NAME)["rules"]
        if "get" in r["verbs"]
    }
    assert named[("secrets",)] == [told["FINETUNE_CA_SECRET_NAME"]]
    assert named[("leases",)] == [told["FINETUNE_LEASE_NAME"]]
    assert (
        the(rendered, "Secret", str(told["FINETUNE_CA_SECRET_NAME"])).keys() & {"data", "stringData"} == set()
    )


def test_users_get_finetunes_through_the_built_in_roles(rendered: Objects) -> None:
    view, edit = (the(rendered, "ClusterRole", f"{NAME}-{who}") for who in ("view", "edit"))
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    assert {k.removeprefix(prefix) for k in view["metadata"]["labels"] if k.startswith(prefix)} == {
        "view",
        "edit",
        "admin",
    }
    assert {k.removeprefix(prefix) for k in edit["metadata"]["labels"] if k.startswith(prefix)} == {
        "edit",
        "admin",
    }
    assert {v for r in view["rules"] for v in r["verbs"]} == {"get", "list", "watch"}
    assert all(r["resources"] == ["embeddingfinetunes"] for r in edit["rules"]), "status is the operator's"
