from tests.cluster.pytest_plugin import cluster, namespace

__all__ = ["cluster", "namespace"]
