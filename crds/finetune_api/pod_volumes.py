"""Volumes that a finetune may mount besides what its URIs name.

Only types that Pod Security `restricted` allows, without tokens of service accounts, and without `csi`, whose
free-form attributes can name what lies outside of the namespace.
"""

from typing import Annotated, Literal

from pydantic import Field

from finetune_api.fields import ApiModel, Name, ObjectName, Rule
from finetune_api.kube_names import DataKey, DnsName, MountPath, RelativePath
from finetune_api.quantities import Quantity


class KeyFile(ApiModel):
    """One key as a file."""

    key: DataKey
    """Of the ConfigMap or Secret."""
    path: RelativePath
    """Of the file, in the volume."""


KeyFiles = Annotated[list[KeyFile], Field(max_length=32)]


class EmptyDir(ApiModel):
    """A folder that is empty at first and goes with the pod."""

    medium: Literal["Memory"] | None = None
    """Memory: counts against the memory limit. Absent: the node's disk."""
    size_limit: Quantity | None = None
    """The pod is evicted when it takes more."""


class ClaimVolume(ApiModel):
    """A PersistentVolumeClaim of the finetune's namespace."""

    claim_name: ObjectName
    """Of the claim."""


class ConfigMapVolume(ApiModel):
    """A ConfigMap of the finetune's namespace, a file a key."""

    name: ObjectName
    """Of the ConfigMap."""
    items: KeyFiles | None = None
    """Absent: every key, under its own name."""
    optional: bool | None = None
    """Without the ConfigMap the folder is empty, instead of the pod waiting for it."""


class SecretVolume(ApiModel):
    """A Secret of the finetune's namespace, a file a key."""

    secret_name: ObjectName
    """Of the Secret."""
    items: KeyFiles | None = None
    """Absent: every key, under its own name."""
    optional: bool | None = None
    """Without the Secret the folder is empty, instead of the pod waiting for it."""


class ProjectedSecret(ApiModel):
    """A Secret of the finetune's namespace, a file a key."""

    name: ObjectName
    """Of the Secret."""
    items: KeyFiles | None = None
    """Absent: every key, under its own name."""
    optional: bool | None = None
    """Without the Secret its files are left out, instead of the pod waiting for it."""


class ProjectedSource(ApiModel):
    """What one source brings into the folder."""

    config_map: ConfigMapVolume | None = None
    """Files of a ConfigMap."""
    secret: ProjectedSecret | None = None
    """Files of a Secret."""
    rules = (
        Rule(
            "has(self.configMap) != has(self.secret)",
            "one of `projected.sources` must have either `configMap` or `secret`",
            lambda s: (s.config_map is None) != (s.secret is None),
        ),
    )


class Projected(ApiModel):
    """Several ConfigMaps and Secrets in one folder."""

    sources: Annotated[list[ProjectedSource], Field(min_length=1, max_length=8)]
    """Later ones must not bring a file that is there."""


class StorageRequests(ApiModel):
    """How much is asked for."""

    storage: Quantity
    """Size of the volume."""


class StorageResources(ApiModel):
    """What the volume is to have."""

    requests: StorageRequests
    """At least."""


class ClaimSpec(ApiModel):
    """The claim that is made for each pod."""

    access_modes: Annotated[
        list[Literal["ReadWriteOnce", "ReadWriteOncePod"]], Field(min_length=1, max_length=1)
    ]
    """One pod has it: ReadWriteOnce or ReadWriteOncePod."""
    storage_class_name: DnsName | None = None
    """Absent: the cluster's default class."""
    resources: StorageResources
    """Its size."""


class ClaimTemplate(ApiModel):
    """What Kubernetes makes the claim from."""

    spec: ClaimSpec
    """Of the claim."""


class EphemeralVolume(ApiModel):
    """A volume of its own for each pod, made and removed with it."""

    volume_claim_template: ClaimTemplate
    """The claim that is made."""


_TYPES = ("emptyDir", "persistentVolumeClaim", "configMap", "secret", "projected", "ephemeral")


class Volume(ApiModel):
    """A volume and where the trainer finds it."""

    name: Name
    """Of the volume."""
    mount_path: MountPath
    """Folder in the container, below /mnt."""
    read_only: bool | None = None
    """Nothing can be written. ConfigMaps and Secrets never can."""
    empty_dir: EmptyDir | None = None
    """Scratch space."""
    persistent_volume_claim: ClaimVolume | None = None
    """A claim."""
    config_map: ConfigMapVolume | None = None
    """Files of a ConfigMap."""
    secret: SecretVolume | None = None
    """Files of a Secret."""
    projected: Projected | None = None
    """Files of several ConfigMaps and Secrets."""
    ephemeral: EphemeralVolume | None = None
    """Scratch space of a storage class."""
    rules = (
        Rule(
            f"[{', '.join(f'has(self.{t})' for t in _TYPES)}].filter(given, given).size() == 1",
            f"a volume must have exactly one of {', '.join(f'`{t}`' for t in _TYPES)}",
            lambda v: len(v.sources()) == 1,
        ),
    )

    def sources(self) -> dict[str, ApiModel]:
        """The types it has, as Kubernetes calls them: exactly one."""
        found = {
            "emptyDir": self.empty_dir, "persistentVolumeClaim": self.persistent_volume_claim,
            "configMap": self.config_map, "secret": self.secret, "projected": self.projected,
            "ephemeral": self.ephemeral,
        }  # fmt: skip
        return {type_: source for type_, source in found.items() if source is not None}


PATHS_ARE_UNIQUE = Rule(
    "self.all(a, self.exists_one(b, a.mountPath == b.mountPath))",
    "every volume must have another `mountPath`",
    lambda volumes: len({v.mount_path for v in volumes}) == len(volumes),
)
