"""`spec.output`, `spec.runtime` and `spec.limits`: where the model goes, and what runs it."""

from typing import Annotated

from pydantic import Field, StringConstraints, WithJsonSchema

from finetune_api.fields import ApiModel, ObjectName, Rule, SecretRef
from finetune_api.uris import CheckpointsUri, OutputUri

QUANTITY_PATTERN = r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi|T|Ti)?$"
MAX_WHOLE_QUANTITY = 2**53
"""Beyond it JSON readers differ; no node has as many bytes."""
QuantityText = Annotated[str, StringConstraints(pattern=QUANTITY_PATTERN, max_length=24)]
Quantity = Annotated[
    Annotated[int, Field(ge=0, le=MAX_WHOLE_QUANTITY)] | QuantityText,
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "minimum": 0,
            "maximum": MAX_WHOLE_QUANTITY,
            "pattern": QUANTITY_PATTERN,
            "maxLength": 24,
        }
    ),
]
ResourceName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9./]*[a-z0-9])?$", max_length=128)]

QueueName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=63)]
"""Name of a LocalQueue; it stands in a label, which is shorter than an object's name may be."""


class Output(ApiModel):
    """Where models that pass are published."""

    uri: OutputUri
    """Parent folder, pvc://claim/path: every run writes one version below it, then `latest.json`."""
    keep: Annotated[int, Field(ge=0, le=100)] = 3
    """Older versions to keep beside the latest."""
    secret_ref: SecretRef | None = None
    """Secret with what the target asks for. hf://: `token`. s3://: `AWS_ACCESS_KEY_ID`,
    `AWS_SECRET_ACCESS_KEY`, and `AWS_SESSION_TOKEN`, `AWS_ENDPOINT_URL`, `AWS_REGION` where needed. gs://:
    `credentials.json`. oci://: `.dockerconfigjson`. Absent: the pod's own identity in the cloud."""
    samples: bool = False
    """Show some of the data's own texts and pictures in the model card and in `report.html`."""
    rules = (
        Rule(
            "!has(self.secretRef) || !self.uri.startsWith('pvc://')",
            "`output.secretRef` must be left out for a pvc:// `output.uri`",
            lambda o: o.secret_ref is None or not o.uri.startswith("pvc://"),
        ),
    )


class Resources(ApiModel):
    """Requests and limits of the trainer container, as in a pod."""

    requests: Annotated[dict[str, Quantity], Field(max_length=16)] = {}
    """What the scheduler sets aside."""
    limits: Annotated[dict[str, Quantity], Field(max_length=16)] = {}
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
    termination_grace_period_seconds: Annotated[int, Field(ge=0, le=3600)] = 300
    """Time to end after a stop is asked for."""


class Limits(ApiModel):
    """When to try again and when to give up."""

    retries: Annotated[int, Field(ge=0, le=100)] = 3
    """New attempts after failures that are not the spec's or the data's fault."""
    pending_seconds: Annotated[int, Field(ge=10, le=604_800)] = 3600
    """How long a run may wait for what it misses (a volume, room on a node) before it counts as stalled."""
    active_seconds: Annotated[int, Field(ge=60, le=31_536_000)] | None = None
    """How long the pods of a run may run, all attempts together, suspensions left out. Absent: no limit."""
    stuck_seconds: Annotated[int, Field(ge=60, le=604_800)] = 1800
    """A running pod that reports nothing new for so long is called stuck; it is not stopped."""
    keep_job_seconds: Annotated[int, Field(ge=0, le=31_536_000)] = 604_800
    """How long a finished run's Job, its pods and their logs stay. The finetune keeps its numbers."""
