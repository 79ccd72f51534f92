"""Whatever a finetune says about its pod, a namespace under Pod Security `restricted` takes it."""

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings

from finetune_api.spec import FinetuneSpec
from tests.api.pod_cases import HOSTILE_VALUES, POD_ACCEPTED
from tests.cluster import Cluster
from tests.cluster.client import ApiError
from tests.cluster.waiting import eventually
from tests.plan import world
from tests.security.random_runtimes import ACCOUNTS, CLASSES, PRIORITIES, Json, runtimes

pytestmark = pytest.mark.cluster
NAMESPACE = "restricted-pods"
PODS = f"/api/v1/namespaces/{NAMESPACE}/pods"
MIXED = {"runtimeClassName": CLASSES[0], "priorityClassName": PRIORITIES[0]}


@pytest.fixture(scope="module")
def restricted(cluster: Cluster) -> Iterator[Cluster]:
    """A restricted namespace, and what a pod may name outside of it."""
    client = cluster.client
    scheduling, node = "/apis/scheduling.k8s.io/v1/priorityclasses", "/apis/node.k8s.io/v1/runtimeclasses"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    made: list[tuple[str, Json]] = [
        (scheduling, {"metadata": {"name": PRIORITIES[0]}, "value": 1}),
        (node, {"metadata": {"name": CLASSES[0]}, "handler": "runsc"}),
        ("/api/v1/namespaces", {"metadata": {"name": NAMESPACE, "labels": labels}}),
        (f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts", {"metadata": {"name": ACCOUNTS[0]}}),
    ]
    for path, body in made:
        client.create(path, body)
    account = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default"
    eventually(lambda: client.get(account), "the default account")
    yield cluster
    for path, body in reversed(made):
        client.delete(f"{path}/{body['metadata']['name']}")


@pytest.fixture(scope="module")
def refusal(restricted: Cluster) -> Callable[[Json], str | None]:
    """What the API server has against the Job of a runtime, or against the pod that comes of it."""

    def ask(path: str, manifest: Json) -> None:
        query = {"dryRun": "All", "fieldValidation": "Strict"}
        restricted.client.request("POST", path, manifest, query=query)

    def check(runtime: Json) -> str | None:
        job = _job(runtime)
        try:
            ask(f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs", job)
            ask(PODS, _pod_of(job))
        except ApiError as error:
            return str(error)
        return None

    return check


def _job(runtime: Json) -> Json:
    finetune = world.a_finetune(world.changed(world.SPEC, "runtime", runtime), namespace=NAMESPACE)
    account = {"metadata": {"labels": {"embeddings.dev/allow-finetunes": "true"}}}
    _, job = world.decide(world.a_look(finetune, service_account=account)).create
    return job


def _pod_of(job: Json) -> Json:
    template = job["spec"]["template"]
    metadata = {**template["metadata"], "name": "one", "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "Pod", **template, "metadata": metadata}


@settings(max_examples=150)
@given(runtime=runtimes)
def test_any_pod_that_can_be_said_is_taken(refusal: Callable[[Json], str | None], runtime: Json) -> None:
    FinetuneSpec.model_validate(world.changed(world.SPEC, "runtime", runtime))
    assert refusal(runtime) is None


def _cases() -> dict[str, Json]:
    """Of the accepted ones those about pods, under names that are there."""
    cases = {name: {**changes["runtime"]} for name, changes in POD_ACCEPTED.items()}
    everything = cases["a pod with everything"]
    everything["pod"] = {**everything["pod"], **MIXED}
    return cases


@pytest.mark.parametrize("runtime", _cases().values(), ids=_cases())
def test_every_accepted_case_is_taken(refusal: Callable[[Json], str | None], runtime: Json) -> None:
    assert refusal(runtime) is None


@pytest.mark.parametrize("value", HOSTILE_VALUES, ids=repr)
def test_a_value_is_stored_as_it_was_handed_over(restricted: Cluster, value: str) -> None:
    pod = {"env": [{"name": "A", "value": value}], "annotations": {"a": value}}
    stored = restricted.client.request("POST", PODS, _pod_of(_job({"pod": pod})), query={"dryRun": "All"})
    assert stored["metadata"]["annotations"]["a"] == value
    env = {e["name"]: e.get("value", "") for e in stored["spec"]["containers"][0]["env"]}
    assert env["A"] == value.replace("$", "$$")


def test_the_namespace_refuses_what_is_not_restricted(restricted: Cluster) -> None:
    """Or the tests above would show nothing."""
    pod = _pod_of(_job({}))
    pod["spec"]["volumes"].append({"name": "host", "hostPath": {"path": "/"}})
    with pytest.raises(ApiError, match="violates PodSecurity"):
        restricted.client.request("POST", PODS, pod)
