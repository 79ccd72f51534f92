"""What `kubectl describe` and `kubectl get` tell of a run, from its beginning to its end."""

from functools import partial

import pytest

from finetune_api import names
from tests.cluster import Cluster
from tests.operator.conftest import Finetunes
from tests.operator.process import Operator
from tests.operator.test_endings import evict

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]  # programs may have to be built first


@pytest.mark.slow
def test_describe_reads_like_a_story(cluster: Cluster, operator: Operator, finetunes: Finetunes) -> None:
    """Of a run that is evicted and of one that is suspended; an operator started anew tells nothing twice."""
    folder = finetunes.make_claim("scratch")
    for name in ("evicted", "paused"):
        finetunes.apply("checkpoint", name, runtime_checkpoints={"claim": "scratch"})
    for name in ("evicted", "paused"):
        finetunes.await_that(partial(has_begun, finetunes, name), f"{name} trains")
    (pod,) = (pod for pod in finetunes.children("pods") if pod["metadata"]["name"].startswith("evicted"))
    evict(cluster.client, pod)
    finetunes.client.patch(f"{finetunes.path}/paused", {"spec": {"suspend": True}})
    finetunes.await_condition("Suspended", "True", name="paused")
    finetunes.await_that(lambda: finetunes.status("evicted")["run"]["attempt"] == 2, "the next attempt")
    finetunes.await_condition("Reconciling", "True", "Running", name="evicted")
    operator.kill()
    operator.start()
    operator.await_leading()
    finetunes.client.patch(f"{finetunes.path}/paused", {"spec": {"suspend": False}})
    finetunes.await_condition("Reconciling", "True", "Running", name="paused")
    (folder / "go").touch()
    for name in ("evicted", "paused"):
        finetunes.await_condition("Ready", "True", name=name)
    print(cluster.kubectl("describe", "eft", "paused", "-n", finetunes.namespace)[-3000:])
    assert story_of(finetunes, "evicted") == ["Started", "Drained", "Running", "Measured"]
    assert story_of(finetunes, "paused") == ["Started", "Suspended", "Resumed", "Measured"]
    told = cluster.kubectl("describe", "eft", "evicted", "-n", finetunes.namespace)
    print(told[told.index("Events:") :])
    assert "That counts as no retry. The run goes on from the checkpoint of step" in told
    assert "The trainer of attempt 2 of run 1 is at work." in told
    table = cluster.kubectl("get", "eft", "-n", finetunes.namespace)
    print(table)
    assert table.splitlines()[1].split()[:3] == ["evicted", "Ready", "Measured"]


def has_begun(finetunes: Finetunes, name: str) -> bool:
    return bool((finetunes.status(name).get("progress") or {}).get("step", 0) >= 3)


def story_of(finetunes: Finetunes, name: str) -> list[str]:
    """Reasons of the Events about it, in the order in which they were posted."""
    selector = f"involvedObject.kind={names.KIND},involvedObject.name={name}"
    path = f"/api/v1/namespaces/{finetunes.namespace}/events"
    found = finetunes.client.list(path, fieldSelector=selector)["items"]
    return [e["reason"] for e in sorted(found, key=lambda e: int(e["metadata"]["resourceVersion"]))]
