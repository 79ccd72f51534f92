"""PURE: what the trainer finds in its pod, and where: its own folders, and all that the spec names."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from finetune_api.pod_settings import PodSettings
from finetune_api.references import Reference
from finetune_api.run_file import (
    CACHE_DIR,
    CHECKPOINTS_DIR,
    CONFIG_DIR,
    CONFIG_MAPS_DIR,
    SECRETS_DIR,
    TOKEN_DIR,
    VOLUMES_DIR,
    WORK_DIR,
)  # fmt: skip
from finetune_api.runtime import Runtime
from finetune_api.spec import FinetuneSpec
from finetune_operator.decisions.pod_additions import extra_volumes

TOKEN_SECONDS = 3600
SECRET_MODE = 0o440
SHARED_MEMORY = "2Gi"
"""Most that the data workers' batches may take; what they use counts against the memory limit."""

ClaimUse = tuple[str, str, bool]
"""Claim, path in the container, whether it is read only."""


@dataclass(frozen=True)
class Mount:
    """One volume and where the trainer finds it."""

    volume: dict[str, Any]
    path: str
    read_only: bool = True

    @property
    def as_mount(self) -> dict[str, Any]:
        mount = {"name": self.volume["name"], "mountPath": self.path}
        return {**mount, "readOnly": True} if self.read_only else mount


def build_mounts(spec: FinetuneSpec, *, config: str, audience: str) -> list[Mount]:
    """Every mount of the pod. config: name of the run's ConfigMap; audience: of the token to report with."""
    named = spec.references()
    return [
        *_own_mounts(config, audience),
        *_claims(spec, named),
        *_secrets(named),
        *_config_maps(named),
        *_extra(spec.runtime.pod),
    ]


def volumes_of(mounts: list[Mount]) -> list[dict[str, Any]]:
    """Each volume once, however many mounts it has: the kubelet waits for ever for a claim that two name."""
    return list({mount.volume["name"]: mount.volume for mount in mounts}.values())


def _own_mounts(config: str, audience: str) -> list[Mount]:
    token = {"path": "token", "audience": audience, "expirationSeconds": TOKEN_SECONDS}
    return [
        Mount({"name": "config", "configMap": {"name": config}}, CONFIG_DIR),
        Mount({"name": "token", "projected": {"sources": [{"serviceAccountToken": token}]}}, TOKEN_DIR),
        Mount({"name": "work", "emptyDir": {}}, WORK_DIR, read_only=False),
        Mount(
            {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": SHARED_MEMORY}},
            "/dev/shm",  # noqa: S108 - where torch's data workers hand over batches
            read_only=False,
        ),
    ]


def _claims(spec: FinetuneSpec, named: Sequence[Reference]) -> Iterator[Mount]:
    """A mount for every use of a claim; one claim, however it is used, is one volume."""
    uses = sorted((*_claims_of_uris(named), *_folders(spec.runtime), *_claims_of_volumes(spec.runtime.pod)))
    numbers = {claim: number for number, claim in enumerate(dict.fromkeys(claim for claim, *_ in uses))}
    for claim, path, read_only in uses:
        # Named by number: a claim's name may have dots and 253 characters, a volume's may not.
        name = f"claim-{numbers[claim]}"
        yield Mount({"name": name, "persistentVolumeClaim": {"claimName": claim}}, path, read_only)


def _claims_of_uris(named: Sequence[Reference]) -> Iterator[ClaimUse]:
    """Of those only the one to publish to can be written."""
    targets = {reference.claim for reference in named if reference.is_target}
    for claim in {reference.claim for reference in named} - {None}:
        yield str(claim), f"{VOLUMES_DIR}/{claim}", claim not in targets


def _folders(runtime: Runtime) -> Iterator[ClaimUse]:
    """Folders that the trainer writes to besides its target."""
    if runtime.cache:
        yield runtime.cache.claim, CACHE_DIR, False
    if runtime.checkpoints and runtime.checkpoints.claim:
        yield runtime.checkpoints.claim, CHECKPOINTS_DIR, False


def _claims_of_volumes(pod: PodSettings) -> Iterator[ClaimUse]:
    for volume in pod.volumes:
        if volume.persistent_volume_claim:
            yield volume.persistent_volume_claim.claim_name, volume.mount_path, bool(volume.read_only)


def _secrets(named: Sequence[Reference]) -> Iterator[Mount]:
    names = {reference.secret for reference in named if reference.secret is not None}
    for index, name in enumerate(sorted(names)):
        volume = {"name": f"secret-{index}", "secret": {"secretName": name, "defaultMode": SECRET_MODE}}
        yield Mount(volume, f"{SECRETS_DIR}/{name}")


def _config_maps(named: Sequence[Reference]) -> Iterator[Mount]:
    names = {reference.config_map for reference in named if reference.config_map is not None}
    for index, name in enumerate(sorted(names)):
        volume = {"name": f"configmap-{index}", "configMap": {"name": name}}
        yield Mount(volume, f"{CONFIG_MAPS_DIR}/{name}")


def _extra(pod: PodSettings) -> Iterator[Mount]:
    for volume, manifest in extra_volumes(pod):
        if volume.secret:
            manifest["secret"]["defaultMode"] = SECRET_MODE
        yield Mount(manifest, volume.mount_path, bool(volume.read_only))
