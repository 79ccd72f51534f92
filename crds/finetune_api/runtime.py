"""`spec.runtime`: what runs the trainer."""

from typing import Annotated

from pydantic import Field, StringConstraints

from finetune_api.fields import ApiModel, ObjectName, Rule, SecretRef, ruled
from finetune_api.kube_names import KEYS_ARE_LABEL_KEYS, DnsName
from finetune_api.pod_settings import PodSettings
from finetune_api.quantities import Quantity
from finetune_api.uris import CheckpointsUri

ResourceName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9./]*[a-z0-9])?$", max_length=128)]

QueueName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=63)]
"""Name of a LocalQueue; it stands in a label, which is shorter than an object's name may be."""

Amounts = Annotated[dict[str, Quantity], Field(max_length=16), *ruled(KEYS_ARE_LABEL_KEYS)]


class Resources(ApiModel):
    """Requests and limits of the trainer container, as in a pod."""

    requests: Amounts = {}
    """What the scheduler sets aside."""
    limits: Amounts = {}
    """What the container may use at most."""


class Cache(ApiModel):
    """A volume for what is downloaded, shared by runs."""

    claim: ObjectName
    """PersistentVolumeClaim; several runs at once need the access mode ReadWriteMany. Whoever may start a
    finetune in the namespace can read what lies there. Nothing is ever removed from it: empty it when no run
    is under way."""


class Checkpoints(ApiModel):
    """Where a run keeps what it needs to go on after an interruption: a volume, or a bucket."""

    claim: ObjectName | None = None
    """PersistentVolumeClaim. Checkpoints lie below `<namespace>/<name>/<uid>/<run>` and are removed when the
    run is over. Runs on several nodes need the access mode ReadWriteMany."""
    uri: CheckpointsUri | None = None
    """Folder of a bucket, s3://bucket/folder or gs://bucket/folder, where there is no shared volume."""
    secret_ref: SecretRef | None = None
    """Secret that opens `uri`, with the keys of `output.secretRef`."""
    keep: Annotated[int, Field(ge=1, le=10)] = 2
    """Checkpoints to keep of a run; older ones are removed once a newer one is whole."""
    every_seconds: Annotated[int, Field(ge=10, le=86_400)] = 900
    """Time between two checkpoints. One more is made whenever the pod is asked to stop."""
    rules = (
        Rule(
            "has(self.claim) != has(self.uri)",
            "`runtime.checkpoints` must have either `claim` or `uri`",
            lambda c: (c.claim is None) != (c.uri is None),
        ),
        Rule(
            "!has(self.secretRef) || has(self.uri)",
            "`runtime.checkpoints.secretRef` must be left out without `uri`",
            lambda c: c.secret_ref is None or c.uri is not None,
        ),
    )


class Runtime(ApiModel):
    """What the trainer's pod gets."""

    image: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][!-~]*$", max_length=256)] | None = None
    """Trainer image. Absent: the operator's own."""
    gpus_per_node: Annotated[int, Field(ge=0, le=1)] = 1
    """GPUs of the pod; 0 trains on the CPU."""
    gpu_resource_name: ResourceName = "nvidia.com/gpu"
    """Name of the GPU resource, for other vendors or parts of a GPU."""
    resources: Resources = Resources()
    """Requests and limits beside the GPUs."""
    cache: Cache | None = None
    """Where downloads are kept for other runs. Absent: every attempt downloads anew."""
    checkpoints: Checkpoints | None = None
    """Where an interrupted run finds what it had done. Absent: an interruption starts it over."""
    queue_name: QueueName | None = None
    """LocalQueue of Kueue, in this namespace, that lets the run's Job begin. Absent: it begins at once."""
    service_account_name: DnsName | None = None
    """Account that the cloud knows the pod by (workload identity). Only one that is labelled
    `embeddings.dev/allow-finetunes: "true"`. Its Kubernetes token is never mounted. Absent: the namespace's
    default account."""
    pod: PodSettings = PodSettings()
    """Where the pod may run, and what it gets besides."""
    termination_grace_period_seconds: Annotated[int, Field(ge=0, le=3600)] = 300
    """Time to end after a stop is asked for."""
