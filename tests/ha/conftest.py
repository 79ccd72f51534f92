"""One cluster, one Service and one host of proxies for all; each test has replicas of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import Cluster
from tests.faults.proxy import ProxyHost
from tests.ha.replicas import Deployment, deployment
from tests.ha.service import ReportService, report_service
from tests.operator.conftest import cluster, finetunes, namespace

__all__ = ["cluster", "finetunes", "namespace"]

QUICK_STATUS = {"FINETUNE_PROGRESS_INTERVAL_SECONDS": "1", "FINETUNE_POD_START_GRACE_SECONDS": "1"}


@pytest.fixture(scope="session")
def proxies() -> Iterator[ProxyHost]:
    host = ProxyHost()
    yield host
    host.close()


@pytest.fixture(scope="session")
def service(cluster: Cluster) -> Iterator[ReportService]:
    with report_service(cluster) as service:
        yield service


@pytest.fixture
def operators(
    cluster: Cluster, service: ReportService, proxies: ProxyHost, tmp_path: Path
) -> Iterator[Deployment]:
    """With the default settings of the Lease: 15 s, renewed every 2 s, lost after 10 s."""
    with deployment(cluster, service, proxies, tmp_path, QUICK_STATUS) as operators:
        yield operators
