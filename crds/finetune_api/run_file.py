"""What the operator hands to a run: the mounted file, and where everything else is found in the pod."""

from typing import Annotated, Any

from pydantic import Field
from typing_extensions import override

from finetune_api.fields import ApiModel
from finetune_api.spec import FinetuneSpec

CONFIG_DIR = "/etc/finetune"
"""The run's ConfigMap: RUN_FILE, and CA_FILE for the report server's certificate."""
RUN_FILE = "run.json"
CA_FILE = "ca.crt"
TOKEN_DIR = "/var/run/finetune/token"  # noqa: S105 - a folder, not a token
"""Holds `token`: the projected service-account token for the report server. It rotates: read it anew."""
SECRETS_DIR = "/var/run/finetune/secrets"
"""A folder for every secretRef: SECRETS_DIR/<name>/<key>."""
CONFIG_MAPS_DIR = "/var/run/finetune/configmaps"
"""A folder for every ConfigMap that a URI names: CONFIG_MAPS_DIR/<name>/<key>."""
VOLUMES_DIR = "/volumes"
"""A folder for every claim: VOLUMES_DIR/<claim>."""
CACHE_DIR = "/var/cache/finetune"
"""The claim of `runtime.cache`; not there without one."""
CHECKPOINTS_DIR = "/var/run/finetune/checkpoints"
"""The claim of `runtime.checkpoints`; not there without one."""
WORK_DIR = "/var/lib/finetune"
"""Scratch space of the pod: caches, checkpoints, the model before it is published."""
TERMINATION_FILE = "/dev/termination-log"
CONTAINER = "trainer"
"""Name of the trainer's container."""

ENV_SERVER_URL = "KUBEFLOW_TRAINER_SERVER_URL"
ENV_SERVER_CA = "KUBEFLOW_TRAINER_SERVER_CA_CERT"
ENV_SERVER_TOKEN = "KUBEFLOW_TRAINER_SERVER_TOKEN"  # noqa: S105 - the name of a variable
"""Variables of Kubeflow Trainer's status server: the URL of this run, and the paths of CA and token."""
ENV_IMAGE = "FINETUNE_IMAGE"
"""The trainer's image as the operator asked for it, for lineage."""


class RunFile(ApiModel):
    """One run of one finetune."""

    namespace: str
    name: str
    uid: str
    """Of the finetune: a name may come back, a uid does not."""
    run: Annotated[int, Field(ge=1)]
    spec_hash: str
    allow_remote_code: bool = False
    """Whether the spec may set `model.trustRemoteCode`; who runs the operator says so."""
    spec: FinetuneSpec

    @override
    def to_dict(self) -> dict[str, Any]:
        """Without defaults: a trainer of an earlier version refuses fields that it does not know."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
