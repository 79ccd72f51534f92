"""What this machine gives a program that does nothing but make Jobs, with the official Python client."""

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from kubernetes.client import ApiClient, BatchV1Api
from kubernetes.client.configuration import Configuration
from kubernetes.config import load_kube_config

from tests.cluster import Cluster

THREADS = 8
NAMESPACE = "yardstick"


def jobs_per_second(cluster: Cluster, count: int) -> float:
    """So many suspended Jobs from a few threads: no pods follow."""
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

    with ApiClient(configuration) as client, ThreadPoolExecutor(THREADS) as threads:
        jobs = BatchV1Api(client)
        began = time.monotonic()
        for _ in threads.map(make, range(count)):
            pass
        return count / (time.monotonic() - began)
