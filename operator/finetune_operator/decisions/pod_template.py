"""PURE: the pod of a run, as the Job's template: what it mounts, what it knows, and how little it may."""

import hashlib
import json
from typing import Any

from finetune_api import names
from finetune_api.run_file import (
    CA_FILE,
    CONFIG_DIR,
    CONTAINER,
    ENV_IMAGE,
    ENV_SERVER_CA,
    ENV_SERVER_TOKEN,
    ENV_SERVER_URL,
    TERMINATION_FILE,
    TOKEN_DIR,
    WORK_DIR,
)  # fmt: skip
from finetune_api.runtime import Runtime
from finetune_api.spec import FinetuneSpec
from finetune_operator.decisions.mounts import Mount, build_mounts, volumes_of
from finetune_operator.decisions.pod_additions import Entry, placement, plain_variables, variables
from finetune_operator.settings import Settings

COMMAND = ["finetune-trainer", "pod"]

NONROOT = 65532
"""User and group that distroless images made customary for 'nobody in particular'."""

_CACHES = {
    "HOME": WORK_DIR,
    "HF_HOME": f"{WORK_DIR}/cache/huggingface",
    "MPLCONFIGDIR": f"{WORK_DIR}/cache/matplotlib",
    "TMPDIR": WORK_DIR,
    "TORCHINDUCTOR_CACHE_DIR": f"{WORK_DIR}/cache/inductor",
    "XDG_CACHE_HOME": f"{WORK_DIR}/cache",
}
"""Everything that libraries write: the root file system is read-only."""


def pod_hash(spec: FinetuneSpec) -> str:
    """Of all that the spec says of its pods, defaults left out: an upgrade of ours is no other pod."""
    said = {
        "runtime": spec.runtime.model_dump(mode="json", exclude_defaults=True),
        "secrets": sorted({reference.secret for reference in spec.references() if reference.secret}),
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


def build_pod_spec(
    *, namespace: str, name: str, config: str, spec: FinetuneSpec, settings: Settings
) -> dict[str, Any]:
    """The spec of the run's pods; config: name of the run's ConfigMap."""
    mounts = build_mounts(spec, config=config, audience=settings.report_audience)
    return {
        **placement(spec.runtime, settings),
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
        "volumes": volumes_of(mounts),
    }


def _container(
    namespace: str, name: str, runtime: Runtime, settings: Settings, mounts: list[Mount]
) -> dict[str, Any]:
    return {
        "name": CONTAINER,
        "image": _image(runtime, settings),
        "imagePullPolicy": settings.trainer_image_pull_policy,
        "command": COMMAND,
        "env": _environment(namespace, name, runtime, settings),
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


def _environment(namespace: str, name: str, runtime: Runtime, settings: Settings) -> list[Entry]:
    """Sorted by name. What tells the trainer who it is comes last: nothing replaces it."""
    path = f"/apis/{names.API_VERSION}/namespaces/{namespace}/{names.PLURAL}/{name}/status"
    own = {
        ENV_IMAGE: _image(runtime, settings),
        ENV_SERVER_URL: f"{settings.report_url.rstrip('/')}{path}",
        ENV_SERVER_CA: f"{CONFIG_DIR}/{CA_FILE}",
        ENV_SERVER_TOKEN: f"{TOKEN_DIR}/token",
        "DISABLE_KUBEFLOW_INTEGRATION": "TRUE",  # the trainer reports itself; two voices would contradict
        "TOKENIZERS_PARALLELISM": "false",  # else every forked data worker warns, and some hang
    }
    entries = {
        **_threads(runtime),
        **plain_variables({**_CACHES, **settings.trainer_environment}),
        **variables(runtime.pod),
        **plain_variables(own),
    }
    return [entries[key] for key in sorted(entries)]


def _threads(runtime: Runtime) -> dict[str, Entry]:
    """As many as the container may use: one for every core of the node wait for each other when throttled."""
    if "cpu" not in runtime.resources.limits:
        return {}
    limit = {"containerName": CONTAINER, "resource": "limits.cpu"}
    return {"OMP_NUM_THREADS": {"name": "OMP_NUM_THREADS", "valueFrom": {"resourceFieldRef": limit}}}


def _image(runtime: Runtime, settings: Settings) -> str:
    return runtime.image or settings.trainer_image


def _resources(runtime: Runtime) -> dict[str, Any]:
    """Limits, and requests also where they follow from limits: a queue reads them before there is a pod."""
    gpus = {runtime.gpu_resource_name: runtime.gpus_per_node} if runtime.gpus_per_node else {}
    limits = {**runtime.resources.limits, **gpus}
    parts = {"requests": {**limits, **runtime.resources.requests, **gpus}, "limits": limits}
    return {key: part for key, part in parts.items() if part}
