"""The rendered chart on a real API server: accepted whole, and people get just the rights of their roles."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from finetune_api import names
from tests.api.specs import a_finetune, a_spec
from tests.chart.conftest import CHART, KUBE_VERSION
from tests.chart.objects import the
from tests.cluster import Cluster
from tests.cluster.waiting import eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]  # helm may have to be built first
# A release of its own, so that an operator that other tests have installed stays as it is.
RELEASE, NAMESPACE = "tried", "tried-system"
NAME = "tried-embedding-finetune-operator"
Objects = list[dict[str, Any]]
Can = Callable[[str, str], bool]


@pytest.fixture(scope="module")
def release(render: Callable[..., Objects]) -> Objects:
    return render(release=RELEASE, namespace=NAMESPACE)


@pytest.fixture(scope="module")
def installed(cluster: Cluster, release: Objects) -> Iterator[Cluster]:
    """Everything of the chart in its namespace, the Deployment with no pod: no image is here to run."""
    if cluster.client.get(f"/api/v1/namespaces/{NAMESPACE}") is None:
        cluster.client.create("/api/v1/namespaces", _restricted_namespace())
    _apply(cluster, [_without_pods(o) for o in release])
    yield cluster
    others = [o for o in release if o["kind"] != "CustomResourceDefinition"]
    cluster.kubectl("delete", "--ignore-not-found", "-f", "-", stdin=_as_list(others))


def _restricted_namespace() -> dict[str, Any]:
    labels = {
        "pod-security.kubernetes.io/enforce": "restricted",
        "pod-security.kubernetes.io/warn": "restricted",
    }
    return {"metadata": {"name": NAMESPACE, "labels": labels}}


def _without_pods(item: dict[str, Any]) -> dict[str, Any]:
    return {**item, "spec": {**item["spec"], "replicas": 0}} if item["kind"] == "Deployment" else item


def _apply(cluster: Cluster, objects: Objects) -> None:
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=_as_list(objects))


def _as_list(objects: Objects) -> str:
    """JSON: written anew as YAML by Python, the text 2e-5 would become kubectl's number."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})


def test_what_helm_prints_is_accepted_whole(
    installed: Cluster, helm: Callable[..., str], release: Objects
) -> None:
    text = helm("template", RELEASE, str(CHART), "--namespace", NAMESPACE, "--kube-version", KUBE_VERSION)
    options = ("--server-side", "--force-conflicts", "--validate=strict", "--dry-run=server")
    assert len(installed.kubectl("apply", *options, "-f", "-", stdin=text).splitlines()) == len(release)


def test_the_operators_pod_passes_pod_security_restricted(installed: Cluster, release: Objects) -> None:
    template = the(release, "Deployment", NAME)["spec"]["template"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        **template,
        "metadata": {**template["metadata"], "name": "operator", "namespace": NAMESPACE},
    }
    path = f"/api/v1/namespaces/{NAMESPACE}/pods"
    eventually(
        lambda: installed.client.get(f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/{NAME}"), "the account"
    )
    installed.client.request("POST", path, pod, query={"dryRun": "All"})


def test_an_upgrade_leaves_the_certificate_authority_alone(installed: Cluster, release: Objects) -> None:
    path = f"/api/v1/namespaces/{NAMESPACE}/secrets/{NAME}-ca"
    installed.client.patch(path, {"stringData": {"ca.crt": "kept"}})
    _apply(installed, [the(release, "Secret", f"{NAME}-ca")])
    secret = installed.client.get(path)
    assert secret is not None
    assert "ca.crt" in secret["data"]


def _can(cluster: Cluster, user: str, namespace: str) -> Can:
    """Ask what a user may do, by SubjectAccessReview."""

    def ask(verb: str, resource: str) -> bool:
        group, _, name = resource.rpartition("/")
        resource_name, _, subresource = name.partition(".")
        attributes = {
            "namespace": namespace, "verb": verb, "group": group,
            "resource": resource_name, "subresource": subresource,
        }  # fmt: skip
        review = {
            "apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
            "spec": {"user": user, "resourceAttributes": attributes},
        }  # fmt: skip
        path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
        return bool(cluster.client.create(path, review)["status"]["allowed"])

    return ask


OPERATOR = f"system:serviceaccount:{NAMESPACE}:{NAME}"


def test_the_operator_may_do_its_work_in_any_namespace(installed: Cluster, namespace: str) -> None:
    can = _can(installed, OPERATOR, namespace)
    eft = f"{names.GROUP}/{names.PLURAL}"
    asked = [("watch", eft), ("update", f"{eft}.status"), ("create", "batch/jobs"), ("delete", "batch/jobs")]
    asked += [
        ("get", "/serviceaccounts"),
        ("watch", "/pods"),
        ("create", "/configmaps"),
        ("list", "/events"),
        ("create", "/events"),
    ]
    assert [request for request in asked if not can(*request)] == []


def test_the_operator_may_do_nothing_else_there(installed: Cluster, namespace: str) -> None:
    can = _can(installed, OPERATOR, namespace)
    eft = f"{names.GROUP}/{names.PLURAL}"
    asked = [("get", "/secrets"), ("list", "/secrets"), ("create", "/pods"), ("create", "/pods.exec")]
    asked += [
        ("update", "batch/jobs"),
        ("update", eft),
        ("delete", eft),
        ("patch", "/pods"),
        ("get", "/pods.log"),
    ]
    asked += [("list", "/serviceaccounts"), ("create", "/serviceaccounts"), ("patch", "/serviceaccounts")]
    asked += [("create", "rbac.authorization.k8s.io/rolebindings"), ("create", "/serviceaccounts.token")]
    assert [request for request in asked if can(*request)] == []


def test_of_the_secrets_in_its_own_namespace_it_may_read_one(installed: Cluster) -> None:
    can = _can(installed, OPERATOR, NAMESPACE)
    assert not can("get", "/secrets"), "any"
    assert not can("list", "/secrets")
    path = f"/api/v1/namespaces/{NAMESPACE}/secrets/{NAME}-ca"
    assert _as(installed, OPERATOR, "get", "--raw", path)


def _as(cluster: Cluster, user: str, *arguments: str, stdin: str | None = None) -> str:
    return cluster.kubectl("--as", user, *arguments, stdin=stdin)


@pytest.fixture
def person(installed: Cluster, namespace: str) -> Callable[[str], str]:
    """A user who holds one of the built-in roles in the test's namespace."""

    def with_role(role: str) -> str:
        user = f"{role}-{namespace}"
        installed.kubectl(
            "create", "rolebinding", user, "-n", namespace, f"--clusterrole={role}", f"--user={user}"
        )
        can = _can(installed, user, namespace)
        eventually(
            lambda: can("get", f"{names.GROUP}/{names.PLURAL}"), f"the right of {role} to read finetunes"
        )
        return user

    return with_role


def test_an_editor_of_a_namespace_makes_and_removes_finetunes(
    installed: Cluster, namespace: str, person: Callable[[str], str]
) -> None:
    editor = person("edit")
    text = json.dumps(a_finetune(a_spec()))
    assert "created" in _as(installed, editor, "-n", namespace, "create", "-f", "-", stdin=text)
    _as(
        installed,
        editor,
        "-n",
        namespace,
        "patch",
        "eft",
        "one",
        "--type=merge",
        "-p",
        '{"spec":{"limits":{"retries":1}}}',
    )
    assert "deleted" in _as(installed, editor, "-n", namespace, "delete", "eft", "one")
    assert not _can(installed, editor, namespace)("update", f"{names.GROUP}/{names.PLURAL}.status")


def test_a_viewer_reads_finetunes_and_nothing_more(
    installed: Cluster, namespace: str, person: Callable[[str], str]
) -> None:
    viewer = person("view")
    installed.client.create(
        f"/apis/{names.API_VERSION}/namespaces/{namespace}/{names.PLURAL}", a_finetune(a_spec())
    )
    assert "one" in _as(installed, viewer, "-n", namespace, "get", "eft")
    can = _can(installed, viewer, namespace)
    verbs = ["create", "update", "patch", "delete", "deletecollection"]
    assert [verb for verb in verbs if can(verb, f"{names.GROUP}/{names.PLURAL}")] == []


def test_an_administrator_of_a_namespace_may_do_both(
    installed: Cluster, namespace: str, person: Callable[[str], str]
) -> None:
    can = _can(installed, person("admin"), namespace)
    assert all(can(verb, f"{names.GROUP}/{names.PLURAL}") for verb in ("get", "create", "delete"))
