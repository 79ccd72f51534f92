"""PURE: what the trainer finds in its pod, and where: its own folders, and all that the spec names."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

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

TOKEN_SECONDS = 3600
SECRET_MODE = 0o440
SHARED_MEMORY = "2Gi"
"""Most that the data workers' batches may take; what they use counts against the memory limit."""


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
    return [*_own_mounts(config, audience), *_claims(spec), *_secrets(spec), *_config_maps(spec)]


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


def _claims(spec: FinetuneSpec) -> Iterator[Mount]:
    """A mount for every claim that a URI names, of which only the one to publish to can be written.

    And one for the cache and one for the checkpoints, each of which may lie on one of those claims.
    """
    named = spec.references()
    targets = {reference.claim for reference in named if reference.is_target}
    claims = {reference.claim for reference in named if reference.claim is not None}
    folders = _folders(spec.runtime)
    for index, claim in enumerate(sorted(claims | set(folders.values()))):
        # Named by number: a claim's name may have dots and 253 characters, a volume's may not.
        volume = {"name": f"claim-{index}", "persistentVolumeClaim": {"claimName": claim}}
        if claim in claims:
            yield Mount(volume, f"{VOLUMES_DIR}/{claim}", read_only=claim not in targets)
        for path in (path for path, owner in folders.items() if owner == claim):
            yield Mount(volume, path, read_only=False)


def _folders(runtime: Runtime) -> dict[str, str]:
    """Folders that the trainer writes to besides its target, with their claims."""
    wanted = {
        CACHE_DIR: runtime.cache.claim if runtime.cache else None,
        CHECKPOINTS_DIR: runtime.checkpoints.claim if runtime.checkpoints else None,
    }
    return {path: claim for path, claim in wanted.items() if claim is not None}


def _secrets(spec: FinetuneSpec) -> Iterator[Mount]:
    names = {reference.secret for reference in spec.references() if reference.secret is not None}
    for index, name in enumerate(sorted(names)):
        volume = {"name": f"secret-{index}", "secret": {"secretName": name, "defaultMode": SECRET_MODE}}
        yield Mount(volume, f"{SECRETS_DIR}/{name}")


def _config_maps(spec: FinetuneSpec) -> Iterator[Mount]:
    names = {reference.config_map for reference in spec.references() if reference.config_map is not None}
    for index, name in enumerate(sorted(names)):
        volume = {"name": f"configmap-{index}", "configMap": {"name": name}}
        yield Mount(volume, f"{CONFIG_MAPS_DIR}/{name}")
