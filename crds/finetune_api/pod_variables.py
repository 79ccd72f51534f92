"""Environment variables of the trainer that a finetune may set, and the ones that it may not."""

import re
from typing import Annotated

from pydantic import StringConstraints

from finetune_api.fields import ApiModel, ObjectName, Rule, ruled
from finetune_api.kube_names import DataKey

RESERVED_VARIABLES = (
    # Who the run is and whom it reports to.
    "FINETUNE_.*|KUBEFLOW_.*|DISABLE_KUBEFLOW_.*"
    # Processes that torch, accelerate and tokenizers would start or not.
    "|PET_.*|TORCHELASTIC_.*|ACCELERATE_.*|RANK|LOCAL_RANK|WORLD_SIZE|LOCAL_WORLD_SIZE|MASTER_ADDR|MASTER_PORT"
    "|TOKENIZERS_PARALLELISM"
    # Which programs and libraries run: a volume could bring others than the image's.
    "|PATH|LD_.*|PYTHON.*|GLIBC_TUNABLES|GCONV_PATH|CUDA_INJECTION64_PATH|TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
    # Which devices the container sees: on some nodes `all` hands out every GPU, asked for or not.
    "|NVIDIA_.*|.*_VISIBLE_DEVICES"
    # Folders that the operator sets, so that nothing is written outside of the pod's own scratch space.
    "|HOME|HF_HOME|MPLCONFIGDIR|TMPDIR|TORCHINDUCTOR_CACHE_DIR|XDG_CACHE_HOME"
)
_RESERVED = re.compile(f"^({RESERVED_VARIABLES})$")


def is_reserved_variable(name: str) -> bool:
    return _RESERVED.match(name) is not None


NAME_IS_FREE = Rule(
    f"!self.matches('^({RESERVED_VARIABLES})$')",
    "a variable's `name` must not be one that the operator keeps: SECURITY.md lists them",
    lambda name: not is_reserved_variable(name),
)
VariableName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=128), *ruled(NAME_IS_FREE)
]


class KeyRef(ApiModel):
    """One key of a Secret or ConfigMap in the finetune's namespace."""

    name: ObjectName
    """Of the Secret or ConfigMap."""
    key: DataKey
    """Of its data."""
    optional: bool | None = None
    """Without the object or the key the variable stays unset, instead of the pod waiting for it."""


class ValueFrom(ApiModel):
    """Where a value comes from; the operator never reads it."""

    secret_key_ref: KeyRef | None = None
    """A key of a Secret."""
    config_map_key_ref: KeyRef | None = None
    """A key of a ConfigMap."""
    rules = (
        Rule(
            "has(self.secretKeyRef) != has(self.configMapKeyRef)",
            "`valueFrom` must have either `secretKeyRef` or `configMapKeyRef`",
            lambda v: (v.secret_key_ref is None) != (v.config_map_key_ref is None),
        ),
    )


class Variable(ApiModel):
    """An environment variable of the trainer."""

    name: VariableName
    """Of the variable; the operator keeps some for itself."""
    value: Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", max_length=4096)] | None = None
    """Taken as it is written: `$(NAME)` is not replaced. Whoever reads pods reads it: no secrets."""
    value_from: ValueFrom | None = None
    """A key of a Secret or ConfigMap."""
    rules = (
        Rule(
            "has(self.value) != has(self.valueFrom)",
            "a variable must have either `value` or `valueFrom`",
            lambda v: (v.value is None) != (v.value_from is None),
        ),
    )
