"""How attempts end, on a real API server: the reason, who can help, and what counts as a retry.

Eviction, pre-emption and taints are real, and so is the Job controller that decides about another pod; what
only a kubelet says is written by `played_node`. All cases run side by side.
"""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import pytest

from tests.cluster import Cluster
from tests.cluster.client import Client
from tests.cluster.waiting import eventually
from tests.operator.conftest import Finetunes
from tests.operator.played_node import HERE, SEAT, Object, PlayedNode, path_of, played_node
from tests.operator.process import Operator
from tests.operator.test_reasons import make_namespace, the_pod

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]  # programs may have to be built first

NO_RETRY = {"limits_retries": 0}


@dataclass(frozen=True)
class Case:
    """What a trainer does, what is done to its pod, and what must be told in the end."""

    condition: str
    """Stalled: the run is over. Reconciling: it goes on."""
    reason: str
    says: tuple[str, ...]
    play: str = "hold"
    spec: Object = field(default_factory=lambda: dict(NO_RETRY))
    act: Callable[[PlayedNode, Object], None] | None = None
    retries: int = 0
    interruptions: int = 0
    attempts: int = 1


def code(number: int, reason: str, *says: str) -> Case:
    """An end that no other attempt can mend."""
    spec = {"training_args": {"play": "end", "code": number}}
    told = (f"exit code {number}", f"the last line before code {number}", *says)
    return Case("Stalled", reason, told, spec=spec)


def evict(client: Client, pod: Object) -> None:
    """As `kubectl drain` does."""
    metadata = {key: pod["metadata"][key] for key in ("name", "namespace")}
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}
    client.create(f"{path_of(pod)}/eviction", body)


def evict_for_want_of(resource: str) -> Callable[[PlayedNode, Object], None]:
    def act(node: PlayedNode, pod: Object) -> None:
        node.run(pod)
        node.evict(
            pod, f"The node was low on resource: {resource}. Threshold quantity: 1Gi, available: 1Mi. "
        )

    return act


def end(number: int, reason: str, message: str = "") -> Callable[[PlayedNode, Object], None]:
    return lambda node, pod: node.end(pod, number, reason, message)


CASES = {
    "bad spec": code(10, "InvalidSpec", "You: correct the spec"),
    "bad data": code(11, "InvalidData", "You: correct spec.data"),
    "bad model": code(12, "InvalidModel", "You: correct spec.model"),
    "no access": code(13, "NoAccess", "You: correct the Secret"),
    "target in use": code(14, "TargetInUse", "You: choose another spec.output.uri"),
    "an unforeseen error, twice": Case(
        "Stalled", "InternalError", ("exit code 1", "the last line before code 1", "Platform team: report"),
        spec={"limits_retries": 1, "training_args": {"play": "end", "code": 1}}, retries=2, attempts=2,
    ),
    "a source that breaks off, twice": Case(
        "Stalled", "SourceUnavailable", ("exit code 20", "You: see whether the source is up"),
        spec={"limits_retries": 1, "training_args": {"play": "end", "code": 20}}, retries=2, attempts=2,
    ),
    "GPU memory": Case(
        "Stalled", "CudaOutOfMemory", ("batch 64", "You: lower training.batchSize"),
        play="use_too_much_gpu_memory", retries=1,
    ),
    "host memory": Case(
        "Stalled", "HostOutOfMemory", ("its limit of 1Gi", "You: raise spec.runtime.resources.limits.memory"),
        spec={**NO_RETRY, **HERE, "runtime_resources_limits": {"memory": "1Gi"}}, act=end(137, "OOMKilled"),
        retries=1,
    ),
    "a wrong image": Case(
        "Stalled", "TrainerMismatch", ("executable file not found", "You: use a trainer image"),
        spec={**NO_RETRY, **HERE}, act=end(128, "StartError", "executable file not found in $PATH"),
        retries=1,
    ),
    "evicted through the API": Case(
        "Reconciling", "Drained", ("Eviction API", "counts as no retry"),
        act=lambda node, pod: evict(node.client, pod), interruptions=1
    ),
    "evicted for want of disk": Case(
        "Reconciling", "Evicted", ("low on resource: ephemeral-storage", "counts as no retry"),
        spec={**NO_RETRY, **HERE}, act=evict_for_want_of("ephemeral-storage"), interruptions=1,
    ),
    "evicted for want of memory": Case(
        "Reconciling", "Evicted", ("low on resource: memory", "counts as no retry"),
        spec={**NO_RETRY, **HERE}, act=evict_for_want_of("memory"), interruptions=1,
    ),
    "deleted by hand": Case(
        "Reconciling", "Interrupted", ("was deleted while its trainer was at work", "counts as no retry"),
        act=lambda node, pod: node.client.delete(path_of(pod)), interruptions=1,
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def node(cluster: Cluster) -> Iterator[PlayedNode]:
    with played_node(cluster.client) as node:
        yield node


@pytest.fixture(scope="module")
def under_way(cluster: Cluster, the_operator: Operator, node: PlayedNode) -> Iterator[dict[str, Finetunes]]:
    """Every case, each in a namespace of its own."""
    the_operator.start()
    the_operator.await_leading()
    cases = {name: Finetunes(cluster, f"end-{secrets.token_hex(4)}") for name in CASES}
    for name, finetunes in cases.items():
        make_namespace(cluster.client, finetunes.namespace)
        finetunes.apply(CASES[name].play, **CASES[name].spec)
    for name, finetunes in cases.items():
        if act := CASES[name].act:
            if not CASES[name].spec.items() >= HERE.items():
                finetunes.await_that(partial(progress_of, finetunes), "progress")
            act(node, the_pod(finetunes))
    yield cases
    for finetunes in cases.values():
        cluster.client.delete(f"/api/v1/namespaces/{finetunes.namespace}")


@pytest.mark.parametrize("name", CASES)
def test_the_end_of_an_attempt_tells_why_and_is_counted_as_what_it_is(
    under_way: dict[str, Finetunes], name: str
) -> None:
    case, finetunes = CASES[name], under_way[name]
    event = eventually(lambda: told(finetunes, case.reason), f"{name}: Event {case.reason}", seconds=60)
    if case.condition == "Stalled":
        condition = finetunes.await_condition("Stalled", "True", case.reason, seconds=60)
        assert [says for says in case.says if says not in condition["message"]] == []
    else:
        assert [says for says in case.says if says not in event["message"]] == []
        finetunes.await_that(lambda: finetunes.status()["run"]["attempt"] == 2, "another attempt")
    run = finetunes.status()["run"]
    counted = (run.get("retries", 0), run.get("interruptions", 0), min(run["attempt"], case.attempts))
    assert counted == (case.retries, case.interruptions, case.attempts)


def test_a_pod_that_makes_way_for_another_says_so_and_then_what_it_waits_for(
    operator: Operator, finetunes: Finetunes, node: PlayedNode
) -> None:
    one_seat: Object = {**HERE, "runtime_gpuResourceName": SEAT, "runtime_terminationGracePeriodSeconds": 30}
    classes = "/apis/scheduling.k8s.io/v1/priorityclasses"
    finetunes.client.create(classes, {"metadata": {"name": finetunes.namespace}, "value": 1000})
    finetunes.apply("hold", **one_seat)
    pod = the_pod(finetunes)
    node.run(pod)
    finetunes.apply("hold", "urgent", **one_seat, runtime_pod_priorityClassName=finetunes.namespace)
    finetunes.await_that(lambda: is_to_go(finetunes, pod), "pre-emption")
    node.let_go(pod)
    condition = finetunes.await_condition("Reconciling", "True", "Unschedulable")
    assert f"Insufficient {SEAT}" in condition["message"]
    event = told(finetunes, "Preempted")
    assert event is not None
    assert "made way for a pod of higher priority" in event["message"]
    assert "counts as no retry" in event["message"]
    finetunes.client.delete(f"{classes}/{finetunes.namespace}")


@pytest.mark.slow
def test_silence_is_told_of_trainers_and_of_nodes(
    operator: Operator, finetunes: Finetunes, node: PlayedNode
) -> None:
    """What takes a minute each, side by side."""
    for name in ("quiet", "gone", "lost"):
        finetunes.apply("hold", name, **HERE, runtime_terminationGracePeriodSeconds=1, limits_stuckSeconds=60)
    finetunes.await_that(lambda: len(pods_of(finetunes)) == 3, "all pods have their node")
    pods = {pod["metadata"]["labels"]["embeddings.dev/finetune"]: pod for pod in pods_of(finetunes)}
    for pod in pods.values():
        node.run(pod)
    stuck = finetunes.await_condition("Reconciling", "True", "Stuck", name="quiet", seconds=90)
    assert "spec.limits.stuckSeconds" in stuck["message"]
    node.set_status(
        pods["quiet"], conditions=[{"type": t, "status": "True"} for t in ("Ready", "ContainersReady")]
    )
    node.fall_silent()
    silent = finetunes.await_condition("Reconciling", "True", "NodeNotReady", name="quiet", seconds=120)
    assert f"Node {node.name} of pod {pods['quiet']['metadata']['name']} does not answer" in silent["message"]
    node.drive_away()
    finetunes.await_that(lambda: is_to_go(finetunes, pods["gone"]), "the taint manager's deletion")
    node.let_go(pods["gone"])
    finetunes.await_that(lambda: told(finetunes, "NodeTainted"), "the taint is told")
    lost = finetunes.await_condition("Reconciling", "True", "NodeLost", name="lost", seconds=90)
    assert f"kubectl delete node {node.name}" in lost["message"]


def progress_of(finetunes: Finetunes) -> object:
    return finetunes.status().get("progress")


def is_to_go(finetunes: Finetunes, pod: Object) -> bool:
    return "deletionTimestamp" in (finetunes.client.get(path_of(pod)) or {"metadata": {}})["metadata"]


def pods_of(finetunes: Finetunes) -> list[Object]:
    return [pod for pod in finetunes.children("pods") if pod["spec"].get("nodeName")]


def told(finetunes: Finetunes, reason: str) -> Object | None:
    """The Event of that reason about the finetune."""
    path = f"/api/v1/namespaces/{finetunes.namespace}/events"
    found = finetunes.client.list(path, fieldSelector="involvedObject.kind=EmbeddingFinetune")["items"]
    return next((dict(event) for event in found if event["reason"] == reason), None)
