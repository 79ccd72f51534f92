"""`spec.runtime.pod`: what a finetune may say about its pod. What is not here cannot be said at all.

It is no pod template: no container, command, image, security context, host path, host network or token of a
service account has a field, so none needs to be refused.
"""

import re
from typing import Annotated

from pydantic import Field, StringConstraints, model_validator

from finetune_api import names
from finetune_api.fields import ApiModel, Rule, SecretRef, ruled
from finetune_api.kube_names import KEYS_ARE_LABEL_KEYS, DnsName, LabelMap, LabelValue
from finetune_api.pod_scheduling import SPREADS_ARE_UNIQUE, Affinity, Toleration, TopologySpread
from finetune_api.pod_variables import Variable
from finetune_api.pod_volumes import PATHS_ARE_UNIQUE, Volume
from finetune_api.tables import require_unique

_DOMAINS = "|".join(
    domain.replace(".", "[.]")
    for domain in (
        names.GROUP,
        # Kubernetes itself, Kueue and JobSet, and what kubectl and kpt prune by.
        "kubernetes.io", "k8s.io", "x-k8s.io",
        # GitOps tools, which would take the pod for theirs and remove it.
        "argoproj.io", "fluxcd.io", "helm.sh", "k14s.io", "cattle.io",
        # Networks of other namespaces and of the host.
        "cncf.io",
    )
)  # fmt: skip
RESERVED_KEYS = (
    f"(.*[.])?({_DOMAINS})/.*"
    # Container runtimes: devices, hypervisors, handlers.
    "|(io[.]kubernetes|io[.]containerd|io[.]katacontainers|run[.]oci)[.].*"
    # The Job controller's own.
    "|controller-uid|job-name"
)
FREE_KEYS = "cluster-autoscaler[.]kubernetes[.]io/.*|app[.]kubernetes[.]io/(name|version|component|part-of)"
_RESERVED, _FREE = re.compile(f"^({RESERVED_KEYS})$"), re.compile(f"^({FREE_KEYS})$")


def is_reserved_key(key: str) -> bool:
    """Whether a label or annotation of this key means something to Kubernetes, a GitOps tool or a node."""
    return _RESERVED.match(key) is not None and _FREE.match(key) is None


KEYS_ARE_FREE = Rule(
    f"self.all(k, !k.matches('^({RESERVED_KEYS})$') || k.matches('^({FREE_KEYS})$'))",
    "no key must be one that Kubernetes, Kueue, a container runtime or a GitOps tool acts on:"
    " SECURITY.md lists them",
    lambda keys: not any(map(is_reserved_key, keys)),
)
CLASS_IS_NOT_THE_SYSTEMS = Rule(
    "!self.startsWith('system-')",
    "`priorityClassName` must not be one of the cluster's own, which begin with system-",
    lambda name: not name.startswith("system-"),
)
Labels = Annotated[dict[str, LabelValue], Field(max_length=16), *ruled(KEYS_ARE_LABEL_KEYS, KEYS_ARE_FREE)]
Annotations = Annotated[
    dict[str, Annotated[str, StringConstraints(max_length=4096)]],
    Field(max_length=16),
    *ruled(KEYS_ARE_LABEL_KEYS, KEYS_ARE_FREE),
]


class PodSettings(ApiModel):
    """What the pod gets besides what the run needs, in the words of a pod's own spec."""

    node_selector: LabelMap = {}
    """Labels that the node has."""
    tolerations: Annotated[list[Toleration], Field(max_length=16)] = []
    """Taints that do not keep the pod away."""
    affinity: Affinity | None = None
    """Nodes and neighbours to look for or to keep away from."""
    topology_spread_constraints: Annotated[
        list[TopologySpread], Field(max_length=8), *ruled(SPREADS_ARE_UNIQUE)
    ] = []
    """How evenly pods lie over zones or nodes."""
    priority_class_name: Annotated[DnsName, *ruled(CLASS_IS_NOT_THE_SYSTEMS)] | None = None
    """PriorityClass: what may be pre-empted by what."""
    runtime_class_name: DnsName | None = None
    """RuntimeClass, such as that of a sandbox."""
    image_pull_secrets: Annotated[list[SecretRef], Field(max_length=8)] = []
    """Secrets that open the image's registry, besides those of the operator."""
    env: Annotated[list[Variable], Field(max_length=64, json_schema_extra={"x-list-map-key": "name"})] = []
    """Environment variables of the trainer."""
    volumes: Annotated[
        list[Volume],
        Field(max_length=16, json_schema_extra={"x-list-map-key": "name"}),
        *ruled(PATHS_ARE_UNIQUE),
    ] = []
    """Volumes, each with the folder where the trainer finds it."""
    labels: Labels = {}
    """Of the pod; keys that mean something to Kubernetes or a GitOps tool are refused."""
    annotations: Annotations = {}
    """Of the pod; keys that mean something to Kubernetes or a GitOps tool are refused."""

    @model_validator(mode="after")
    def _names_are_unique(self) -> "PodSettings":
        require_unique([v.name for v in self.env], "variable")
        require_unique([v.name for v in self.volumes], "volume")
        return self
