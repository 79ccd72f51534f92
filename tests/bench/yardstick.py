"""What this machine gives programs that do nothing but write: the most that an operator could reach on it."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from kubernetes.client import ApiClient, BatchV1Api
from kubernetes.client.configuration import Configuration
from kubernetes.config import load_kube_config

from finetune_api import names
from finetune_operator.decisions.announcements import announcements, build_event
from finetune_operator.decisions.observed import Observed
from finetune_operator.decisions.plan import plan
from finetune_operator.settings import Settings
from tests.api.specs import a_finetune, a_spec
from tests.bench.load import CHANGES
from tests.cluster import Cluster

THREADS = 8
NAMESPACE = "yardstick"


def jobs_per_second(cluster: Cluster, count: int) -> float:
    """So many suspended Jobs, with the official Python client: no pods follow."""
    cluster.client.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    configuration = Configuration()
    configuration.connection_pool_maxsize = THREADS
    load_kube_config(str(cluster.kubeconfig), client_configuration=configuration)  # type: ignore[no-untyped-call]
    container = {"name": "any", "image": "any"}
    pod = {"spec": {"restartPolicy": "Never", "containers": [container]}}

    def make(number: int) -> None:
        metadata = {"name": f"job-{number}"}
        body: Any = {"metadata": metadata, "spec": {"suspend": True, "template": pod}}
        jobs.create_namespaced_job(NAMESPACE, body)

    with ApiClient(configuration) as client:
        jobs = BatchV1Api(client)
        return _per_second(make, count)


def finetunes_per_second(cluster: Cluster, count: int) -> float:
    """So many finetunes up to their Jobs by the writes that it takes, without an operator that watches.

    Pods follow, as they do for the operator. None may run: it would take them for its own. In the namespace
    that `jobs_per_second` has made.
    """
    settings = Settings(namespace=NAMESPACE, trainer_image="trainer")

    def make(number: int) -> None:
        finetune = a_finetune(a_spec(CHANGES), f"plain-{number:05d}")
        finetune["metadata"]["namespace"] = NAMESPACE
        _start(cluster, cluster.client.create(_path(names.PLURAL), finetune), settings)

    return _per_second(make, count)


def _start(cluster: Cluster, finetune: dict[str, Any], settings: Settings) -> None:
    """What a first look leads to."""
    now = datetime.now(UTC)
    nothing = Observed(
        finetune, job=None, config=None, previous_job=None, pods=(), events=(), report=None, live=None,
        ca_certificate="CA", now=now, listening_since=now,
    )  # fmt: skip
    decision = plan(nothing, settings)
    config, job = decision.create
    said = [build_event(finetune, told, now) for told in announcements(finetune["status"], decision.status)]
    for plural, thing in (("configmaps", config), ("jobs", job), *(("events", event) for event in said)):
        cluster.client.create(_path(plural), thing)
    path = f"{_path(names.PLURAL)}/{finetune['metadata']['name']}/status"
    cluster.client.put(path, {**finetune, "status": decision.status})


def _path(plural: str) -> str:
    group = {names.PLURAL: f"/apis/{names.API_VERSION}", "jobs": "/apis/batch/v1"}.get(plural, "/api/v1")
    return f"{group}/namespaces/{NAMESPACE}/{plural}"


def _per_second(make: Callable[[int], None], count: int) -> float:
    began = time.monotonic()
    with ThreadPoolExecutor(THREADS) as threads:
        for _ in threads.map(make, range(count)):
            pass
    return count / (time.monotonic() - began)
