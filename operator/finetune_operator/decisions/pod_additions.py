"""PURE: what `runtime.pod` and the administrator add to a pod, in the words of a pod's spec."""

from collections.abc import Iterator, Mapping
from typing import Any

from finetune_api.fields import ApiModel
from finetune_api.pod_settings import PodSettings
from finetune_api.pod_variables import Variable
from finetune_api.pod_volumes import Volume
from finetune_api.runtime import Runtime
from finetune_operator.settings import Settings

Entry = dict[str, Any]


def placement(runtime: Runtime, settings: Settings) -> dict[str, Any]:
    """Where the pod runs, as whom, and what opens its image's registry; absent what nobody has said."""
    pod = runtime.pod
    names = dict.fromkeys((*settings.trainer_image_pull_secrets, *(s.name for s in pod.image_pull_secrets)))
    said = {
        "serviceAccountName": runtime.service_account_name,
        "imagePullSecrets": [{"name": name} for name in names],
        "nodeSelector": pod.node_selector,
        "tolerations": [_dump(toleration) for toleration in pod.tolerations],
        "affinity": _dump(pod.affinity) if pod.affinity else None,
        "topologySpreadConstraints": [_dump(spread) for spread in pod.topology_spread_constraints],
        "priorityClassName": pod.priority_class_name,
        "runtimeClassName": pod.runtime_class_name,
    }
    return {key: value for key, value in said.items() if value}


def variables(pod: PodSettings) -> dict[str, Entry]:
    """The finetune's own, by name."""
    return {variable.name: _variable(variable) for variable in pod.env}


def plain_variables(values: Mapping[str, str]) -> dict[str, Entry]:
    return {name: {"name": name, "value": literal(value)} for name, value in values.items()}


def literal(value: str) -> str:
    """A value that Kubernetes hands over as it is: it replaces `$(NAME)`, and makes one `$` of two."""
    return value.replace("$", "$$")


def extra_volumes(pod: PodSettings) -> Iterator[tuple[Volume, dict[str, Any]]]:
    """Every volume but claims, with what a pod's spec says of it; its name cannot be one of ours."""
    for volume in pod.volumes:
        ((type_, source),) = volume.sources().items()
        if type_ != "persistentVolumeClaim":
            yield volume, {"name": f"user-{volume.name}", type_: _dump(source)}


def _variable(variable: Variable) -> Entry:
    if variable.value is not None:
        return {"name": variable.name, "value": literal(variable.value)}
    return _dump(variable)


def _dump(model: ApiModel) -> dict[str, Any]:
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)
