"""Fixtures for any folder of tests: one local cluster a session, one namespace a test.

With FINETUNE_TEST_CLUSTER naming the folder of a running cluster, that one is used and left as it is.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cluster.cluster import Cluster, attach, local_cluster
from tests.cluster.state import Settings
from tests.cluster.waiting import eventually

_SHARED = pytest.StashKey[Cluster]()
# Enough for a finetune of several nodes; the scheduler only counts them.
GPUS = 8


@pytest.fixture(scope="session")
def cluster(pytestconfig: pytest.Config) -> Cluster:
    """Kept with the session, not with the fixture: two conftests that import it share one cluster."""
    if _SHARED not in pytestconfig.stash:
        stack = ExitStack()
        pytestconfig.add_cleanup(stack.close)
        pytestconfig.stash[_SHARED] = _attach_or_start(stack)
    return pytestconfig.stash[_SHARED]


def _attach_or_start(stack: ExitStack) -> Cluster:
    if running := os.environ.get("FINETUNE_TEST_CLUSTER"):
        found = attach(Path(running))
        stack.callback(found.client.close)
        return found
    return stack.enter_context(local_cluster(Settings(gpus=GPUS)))


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace of the test's own, in which pods can be made; it is deleted without waiting for its end."""
    name = f"test-{secrets.token_hex(4)}"
    client = cluster.client
    client.create("/api/v1/namespaces", {"metadata": {"name": name}})
    account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
    eventually(lambda: client.get(account), "the namespace's default service account")
    yield name
    client.delete(f"/api/v1/namespaces/{name}")
