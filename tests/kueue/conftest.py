"""One cluster with an operator, and the real Kueue beside them."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import Cluster
from tests.kueue.manager import API, kueue_object, running_kueue
from tests.operator.conftest import Finetunes, cluster, finetunes, namespace, operator, the_operator

__all__ = ["cluster", "finetunes", "namespace", "operator", "the_operator"]

QUEUE, URGENT = "team", "urgent"


@pytest.fixture(scope="session")
def kueue(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Its log; and a priority that goes before others."""
    cluster.client.create(
        "/apis/scheduling.k8s.io/v1/priorityclasses", {"metadata": {"name": URGENT}, "value": 1000}
    )
    with running_kueue(cluster, tmp_path_factory.mktemp("kueue")) as log:
        cluster.client.create(f"{API}/resourceflavors", kueue_object("ResourceFlavor", "any"))
        yield log


@pytest.fixture
def open_queue(kueue: Path, finetunes: Finetunes) -> Callable[[bool], None]:
    """A queue for one CPU in the test's namespace, closed at first; called with True it lets Jobs in."""
    client, name = finetunes.client, f"one-cpu-{finetunes.namespace}"
    quota = {"name": "cpu", "nominalQuota": "1"}
    group = {"coveredResources": ["cpu"], "flavors": [{"name": "any", "resources": [quota]}]}
    spec: dict[str, Any] = {
        "namespaceSelector": {},
        "resourceGroups": [group],
        "preemption": {"withinClusterQueue": "LowerPriority"},
        "stopPolicy": "Hold",
    }
    client.create(f"{API}/clusterqueues", kueue_object("ClusterQueue", name, spec))
    local = kueue_object("LocalQueue", QUEUE, {"clusterQueue": name})
    client.create(f"{API}/namespaces/{finetunes.namespace}/localqueues", local)

    def switch(to: bool) -> None:
        client.patch(f"{API}/clusterqueues/{name}", {"spec": {"stopPolicy": "None" if to else "Hold"}})

    return switch
