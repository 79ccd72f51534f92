"""A disposable, real Kubernetes on one machine, without Docker.

`with local_cluster() as cluster:` starts etcd, the API server, the controller manager, the scheduler and one
`process` node, and takes everything away again, also when the owner is killed. The same from a shell:
`python -m tests.cluster up`. What it imitates, and what it does not, stands in README.md beside this file.
"""

from tests.cluster.cluster import Cluster, attach, local_cluster
from tests.cluster.errors import ClusterError
from tests.cluster.state import Settings

__all__ = ["Cluster", "ClusterError", "Settings", "attach", "local_cluster"]
