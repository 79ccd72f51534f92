"""Whatever keeps a run from running is told in its conditions within ten seconds, by a real API server.

Scheduler, quota, LimitRange, Pod Security, policies and webhooks are real; what only a kubelet says is
written by `played_node`. All cases wait side by side, so that the whole set takes little more than one.
"""

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.cluster import Cluster
from tests.cluster.client import Client
from tests.cluster.waiting import eventually
from tests.operator import admission
from tests.operator.admission import Webhooks, serving
from tests.operator.conftest import Finetunes
from tests.operator.played_node import HERE, RESOURCE, Object, PlayedNode, played_node
from tests.operator.process import Operator

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]  # programs may have to be built first

SECONDS = 10.0
"""From the cause, as the API server has it, to the reason in the condition."""
PULL = 'failed to pull and unpack image "registry.example/trainer:2": failed to resolve reference: '


Prepare = Callable[[Client, str, Webhooks], None]


@dataclass(frozen=True)
class Case:
    """What is done to a namespace before, or to a pod after, and what must be told."""

    reason: str
    says: str
    who: str
    spec: Object = field(default_factory=dict)
    prepare: Prepare | None = None
    play: Callable[[PlayedNode, Object], None] | None = None


def create(kind: str, body: Object, group: str = "/api/v1") -> Prepare:
    """Something in the namespace."""

    def prepare(client: Client, namespace: str, _: Webhooks) -> None:
        path = f"{group}/namespaces/{namespace}/{kind}"
        name = client.create(path, body)["metadata"]["name"]
        if kind == "resourcequotas":
            counted = f"{path}/{name}"
            eventually(lambda: (client.get(counted) or {}).get("status", {}).get("hard"), "the quota counts")

    return prepare


def quota(**hard: str) -> Prepare:
    hard = {key.replace("__", "/").replace("_", "."): value for key, value in hard.items()}
    return create("resourcequotas", {"metadata": {"name": "small"}, "spec": {"hard": hard}})


def limit_range() -> Prepare:
    limits = [{"type": "Container", "min": {"cpu": "1"}}]
    return create("limitranges", {"metadata": {"name": "usual"}, "spec": {"limits": limits}})


def pod_security(client: Client, namespace: str, webhooks: Webhooks) -> None:
    """The trainer fits `restricted`; the sidecar that somebody adds does not."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    client.patch(f"/api/v1/namespaces/{namespace}", {"metadata": {"labels": labels}})
    config = webhooks.config("add-sidecar")
    admission.register(client, namespace, "", "pods", config=config, mutating=True)


def policy(group: str, resource: str) -> Prepare:
    return lambda client, namespace, _: admission.refuse_by_policy(client, namespace, group, resource)


def webhook(group: str, resource: str) -> Prepare:
    return lambda client, namespace, webhooks: admission.register(
        client, namespace, group, resource, config=webhooks.config("refuse")
    )


def deaf_webhook(group: str, resource: str) -> Prepare:
    return lambda client, namespace, _: admission.register(
        client, namespace, group, resource, config=admission.DEAF
    )


def waiting(reason: str, message: str) -> Callable[[PlayedNode, Object], None]:
    return lambda node, pod: node.set_container(pod, waiting={"reason": reason, "message": message})


def event(reason: str, message: str) -> Callable[[PlayedNode, Object], None]:
    return lambda node, pod: node.post_event(pod, reason, message)


CASES = {
    # The scheduler
    "no node has the GPU": Case(
        "Unschedulable", "nvidia.com/gpu: 1", "You: wait", spec={"runtime_gpusPerNode": 1}
    ),
    "no node has the cores": Case(
        "Unschedulable", "cpu: 1k", "You: wait", spec={"runtime_resources_requests": {"cpu": "1000"}}
    ),
    "no node has the label": Case(
        "Unschedulable", "node affinity/selector", "correct spec.runtime.pod.nodeSelector",
        spec={"runtime_pod_nodeSelector": {"zone": "moon"}},
    ),
    "the node has a taint": Case(
        "Unschedulable", "untolerated taint", "tolerate it in spec.runtime.pod.tolerations",
        spec={"runtime_gpuResourceName": RESOURCE, "runtime_gpusPerNode": 1},
    ),
    "a claim is missing": Case("ClaimMissing", "late", "You: create", spec={"output_uri": "pvc://late/one"}),
    "a claim is not bound": Case(
        "ClaimNotBound", "not bound", "Platform team: provide",
        spec={"output_uri": "pvc://unbound/one"},
        prepare=create("persistentvolumeclaims", {
            "metadata": {"name": "unbound"},
            "spec": {
                "accessModes": ["ReadWriteOnce"], "storageClassName": "does-not-exist",
                "resources": {"requests": {"storage": "1Gi"}},
            },
        }),
    ),
    # Refusals, of the Job and of its pods
    "a quota has no room for the Job": Case(
        "QuotaExceeded", "count/jobs.batch=1", "Platform team: raise", prepare=quota(count__jobs_batch="0")
    ),
    "a quota has no room for the pod": Case(
        "QuotaExceeded", "pods=1", "Platform team: raise", prepare=quota(pods="0")
    ),
    "a quota asks for limits": Case(
        "QuotaNeedsResources", "limits.memory for: trainer", "You: set", prepare=quota(limits_memory="9Gi")
    ),
    "a LimitRange refuses the pod": Case(
        "LimitRangeViolation", "minimum cpu usage per Container is 1, but request is 100m", "You: correct",
        spec={"runtime_resources_requests": {"cpu": "100m"}}, prepare=limit_range(),
    ),
    "a policy refuses the Job": Case(
        "PolicyDenied", admission.REFUSAL, "You: change", prepare=policy("batch", "jobs")
    ),
    "a policy refuses the pod": Case(
        "PolicyDenied", admission.REFUSAL, "You: change", prepare=policy("", "pods")
    ),
    "a webhook refuses the Job": Case(
        "WebhookDenied", admission.REFUSAL, "You: change", prepare=webhook("batch", "jobs")
    ),
    "a webhook refuses the pod": Case(
        "WebhookDenied", admission.REFUSAL, "You: change", prepare=webhook("", "pods")
    ),
    "a webhook for Jobs does not answer": Case(
        "WebhookUnreachable", "refused", "Platform team: repair", prepare=deaf_webhook("batch", "jobs")
    ),
    "a webhook for pods does not answer": Case(
        "WebhookUnreachable", "refused", "Platform team: repair", prepare=deaf_webhook("", "pods")
    ),
    "a sidecar offends Pod Security": Case(
        "PodSecurityViolation", "NET_ADMIN", "You: take out", prepare=pod_security
    ),
    "a service account is missing": Case(
        "ServiceAccountMissing", "robot", "You: create it", spec={"runtime_serviceAccountName": "robot"}
    ),
    "a PriorityClass is missing": Case(
        "PriorityClassMissing", "urgent", "You: name one", spec={"runtime_pod_priorityClassName": "urgent"}
    ),
    "a RuntimeClass is missing": Case(
        "RuntimeClassMissing", "gvisor", "You: name one", spec={"runtime_pod_runtimeClassName": "gvisor"}
    ),
    # What the node's kubelet says of itself
    "a Secret is missing": Case(
        "SecretMissing", "hub", "You: create it (`kubectl create secret generic hub",
        spec={"model_secretRef": {"name": "hub"}},
    ),
    "a key is missing in a Secret": Case(
        "SecretKeyMissing", "no key token", "You: add the key",
        spec={"runtime_pod_env": [
            {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}}
        ]},
        prepare=create("secrets", {"metadata": {"name": "hub"}, "stringData": {"password": "hidden"}}),
    ),
    # What only another kubelet could say
    "an image does not exist": Case(
        "ImageNotFound", "trainer-that-plays", "You: correct spec.runtime.image",
        spec=HERE, play=waiting("ErrImagePull", f"{PULL}registry.example/trainer:2: not found"),
    ),
    "an image may not be pulled": Case(
        "ImageAccessDenied", "trainer-that-plays", "imagePullSecrets",
        spec=HERE, play=waiting("ErrImagePull", f"{PULL}authorization failed: no basic auth credentials"),
    ),
    "a registry cannot be reached": Case(
        "ImagePullFailed", "no such host", "Platform team: see whether the node reaches",
        spec=HERE,
        play=waiting("ImagePullBackOff", f'Back-off pulling image "a": ErrImagePull: {PULL}no such host'),
    ),
    "an image has no valid name": Case(
        "InvalidImageName", "couldn't parse", "You: correct spec.runtime.image",
        spec=HERE, play=waiting("InvalidImageName", "couldn't parse image name"),
    ),
    "a ConfigMap is missing": Case(
        "ConfigMapMissing", "rows", "You: create",
        spec=HERE,
        play=event("FailedMount", 'MountVolume.SetUp failed for volume "c" : configmap "rows" not found'),
    ),
    "a volume is attached elsewhere": Case(
        "VolumeInUse", "other-0", "ReadWriteMany",
        spec=HERE,
        play=event(
            "FailedAttachVolume",
            'Multi-Attach error for volume "pv" Volume is already used by pod(s) other-0',
        ),
    ),
    "the node has no network": Case(
        "NetworkNotReady", "no route", "Platform team: see the log",
        spec=HERE,
        play=event("FailedCreatePodSandBox", "failed to setup network for sandbox: no route"),
    ),
}  # fmt: skip


@dataclass
class Waiting:
    """One case under way."""

    finetunes: Finetunes
    since: float
    """When its cause was there."""


@pytest.fixture(scope="module")
def under_way(
    cluster: Cluster, the_operator: Operator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Waiting]]:
    """Every case, each in a namespace of its own."""
    the_operator.start()
    the_operator.await_leading()
    client, namespaces = cluster.client, {name: f"why-{secrets.token_hex(4)}" for name in CASES}
    with serving(tmp_path_factory.mktemp("webhooks")) as webhooks, played_node(client) as node:
        for name, namespace in namespaces.items():
            make_namespace(client, namespace)
            if prepare := CASES[name].prepare:
                prepare(client, namespace, webhooks)
        cases = {name: begin(Finetunes(cluster, namespaces[name]), case) for name, case in CASES.items()}
        for name, case in CASES.items():
            if case.play:
                case.play(node, the_pod(cases[name].finetunes))
                cases[name].since = time.monotonic()
        yield cases
        for namespace in namespaces.values():
            client.delete(f"/api/v1/namespaces/{namespace}")
            admission.remove(client, namespace)


def make_namespace(client: Client, name: str) -> None:
    client.create("/api/v1/namespaces", {"metadata": {"name": name}})
    account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
    eventually(lambda: client.get(account), "the namespace's default service account")


def begin(finetunes: Finetunes, case: Case) -> Waiting:
    finetunes.apply("hold", **case.spec)
    return Waiting(finetunes, time.monotonic())


def the_pod(finetunes: Finetunes) -> Object:
    def on_a_node() -> Any:
        return next((pod for pod in finetunes.children("pods") if pod["spec"].get("nodeName")), None)

    return dict(eventually(on_a_node, "the pod has its node"))


@pytest.mark.parametrize("name", CASES)
def test_the_reason_is_told_in_ten_seconds(under_way: dict[str, Waiting], name: str) -> None:
    case, waiting = CASES[name], under_way[name]
    condition = waiting.finetunes.await_condition("Reconciling", "True", case.reason, seconds=SECONDS)
    seconds = time.monotonic() - waiting.since
    print(f"{name}: {condition['reason']}: {condition['message']} ({seconds:.1f} s)")
    assert case.says in condition["message"]
    assert case.who in condition["message"]


@pytest.mark.slow
def test_who_waits_asks_seldom(under_way: dict[str, Waiting], operator: Operator) -> None:
    """In the second minute of the wait. Retries of a refused Job are part of it."""
    since = min(waiting.since for waiting in under_way.values()) + 60
    eventually(lambda: time.monotonic() > since, "the first minute is over", seconds=90)
    before, began = requests_of(operator), time.monotonic()
    eventually(lambda: time.monotonic() > began + 60, "the second minute is over", seconds=90)
    each = (requests_of(operator) - before) / len(CASES)
    print(f"{each:.1f} requests a minute and finetune that waits")
    assert each <= 20


def requests_of(operator: Operator) -> float:
    lines = (line.rpartition(" ") for line in operator.metrics().splitlines())
    name = "embedding_finetune_operator_api_requests_total"
    return sum(float(value) for series, _, value in lines if series.startswith(name))
