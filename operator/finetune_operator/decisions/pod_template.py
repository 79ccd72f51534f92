"""PURE: the pod of a run, as the Job's template: what it mounts, what it knows, and how little it may."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from finetune_api import names
from finetune_api.run_file import (
    CA_FILE,
    CACHE_DIR,
    CONFIG_DIR,
    CONFIG_MAPS_DIR,
    CONTAINER,
    ENV_IMAGE,
    ENV_SERVER_CA,
    ENV_SERVER_TOKEN,
    ENV_SERVER_URL,
    SECRETS_DIR,
    TERMINATION_FILE,
    TOKEN_DIR,
    VOLUMES_DIR,
    WORK_DIR,
)  # fmt: skip
from finetune_api.runtime import Runtime
from finetune_api.spec import FinetuneSpec
from finetune_operator.settings import Settings

COMMAND = ["finetune-trainer", "pod"]

NONROOT = 65532
"""User and group that distroless images made customary for 'nobody in particular'."""

TOKEN_SECONDS = 3600
SECRET_MODE = 0o440
SHARED_MEMORY = "2Gi"
"""Most that the data workers' batches may take; what they use counts against the memory limit."""

_CACHES = {
    "HOME": WORK_DIR,
    "HF_HOME": f"{WORK_DIR}/cache/huggingface",
    "MPLCONFIGDIR": f"{WORK_DIR}/cache/matplotlib",
    "TMPDIR": WORK_DIR,
    "TORCHINDUCTOR_CACHE_DIR": f"{WORK_DIR}/cache/inductor",
    "XDG_CACHE_HOME": f"{WORK_DIR}/cache",
}
"""Everything that libraries write: the root file system is read-only."""


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


def build_pod_spec(
    *, namespace: str, name: str, config: str, spec: FinetuneSpec, settings: Settings
) -> dict[str, Any]:
    """The spec of the run's pods; config: name of the run's ConfigMap."""
    mounts = [*_own_mounts(config, settings), *_claims(spec), *_secrets(spec), *_config_maps(spec)]
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": spec.runtime.termination_grace_period_seconds,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": NONROOT,
            "runAsGroup": NONROOT,
            "fsGroup": NONROOT,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(namespace, name, spec.runtime, settings, mounts)],
        # One volume may have two mounts; the kubelet waits for ever for a claim that two volumes name.
        "volumes": list({mount.volume["name"]: mount.volume for mount in mounts}.values()),
    }


def _container(
    namespace: str, name: str, runtime: Runtime, settings: Settings, mounts: list[Mount]
) -> dict[str, Any]:
    image = runtime.image or settings.trainer_image
    return {
        "name": CONTAINER,
        "image": image,
        "imagePullPolicy": settings.trainer_image_pull_policy,
        "command": COMMAND,
        "env": [
            {"name": key, "value": value}
            for key, value in sorted(_environment(namespace, name, image, settings).items())
        ]
        + _threads(runtime),
        "resources": _resources(runtime),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "terminationMessagePath": TERMINATION_FILE,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [mount.as_mount for mount in mounts],
    }


def _environment(namespace: str, name: str, image: str, settings: Settings) -> dict[str, str]:
    path = f"/apis/{names.API_VERSION}/namespaces/{namespace}/{names.PLURAL}/{name}/status"
    return {
        **_CACHES,
        **settings.trainer_environment,
        ENV_IMAGE: image,
        ENV_SERVER_URL: f"{settings.report_url.rstrip('/')}{path}",
        ENV_SERVER_CA: f"{CONFIG_DIR}/{CA_FILE}",
        ENV_SERVER_TOKEN: f"{TOKEN_DIR}/token",
        "DISABLE_KUBEFLOW_INTEGRATION": "TRUE",  # the trainer reports itself; two voices would contradict
        "TOKENIZERS_PARALLELISM": "false",  # else every forked data worker warns, and some hang
    }


def _threads(runtime: Runtime) -> list[dict[str, Any]]:
    """As many as the container may use: one for every core of the node wait for each other when throttled."""
    if "cpu" not in runtime.resources.limits:
        return []
    limit = {"containerName": CONTAINER, "resource": "limits.cpu"}
    return [{"name": "OMP_NUM_THREADS", "valueFrom": {"resourceFieldRef": limit}}]


def _resources(runtime: Runtime) -> dict[str, Any]:
    gpus = {runtime.gpu_resource_name: runtime.gpus_per_node} if runtime.gpus_per_node else {}
    parts = {"requests": dict(runtime.resources.requests), "limits": {**runtime.resources.limits, **gpus}}
    return {key: part for key, part in parts.items() if part}


def _own_mounts(config: str, settings: Settings) -> list[Mount]:
    token = {"path": "token", "audience": settings.report_audience, "expirationSeconds": TOKEN_SECONDS}
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

    And one for the cache, which may lie on one of those claims.
    """
    named = spec.references()
    targets = {reference.claim for reference in named if reference.is_target}
    claims = {reference.claim for reference in named if reference.claim is not None}
    cache = spec.runtime.cache.claim if spec.runtime.cache else None
    for index, claim in enumerate(sorted(claims | ({cache} if cache else set()))):
        # Named by number: a claim's name may have dots and 253 characters, a volume's may not.
        volume = {"name": f"claim-{index}", "persistentVolumeClaim": {"claimName": claim}}
        if claim in claims:
            yield Mount(volume, f"{VOLUMES_DIR}/{claim}", read_only=claim not in targets)
        if claim == cache:
            yield Mount(volume, CACHE_DIR, read_only=False)


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
