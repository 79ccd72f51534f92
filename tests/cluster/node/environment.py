"""The environment, command and arguments of a container.

PURE: the ConfigMaps and Secrets it refers to are handed in as a function. The rules are those of the kubelet:
`envFrom` before `env`, later names win, `$(NAME)` refers to what was set before it, `$$` is a dollar sign.
"""

import base64
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from tests.cluster.client import Dict
from tests.cluster.node.quantities import in_units_of

REFERENCE = re.compile(r"\$\$|\$\(([-._a-zA-Z][-._a-zA-Z0-9]*)\)")
Lookup = Callable[[str, str], Dict | None]
"""(kind, name) -> the ConfigMap or Secret of the pod's namespace."""


class MissingReference(Exception):
    """A ConfigMap, Secret or key that is not there and not optional; it may come."""


def build_environment(pod: Dict, container: Dict, base: Mapping[str, str], lookup: Lookup) -> dict[str, str]:
    """Everything the process sees. Raises MissingReference."""
    result = dict(base)
    for source in container.get("envFrom", ()):
        result |= _whole_object(source, lookup)
    for variable in container.get("env", ()):
        if "value" in variable or "valueFrom" not in variable:
            result[variable["name"]] = expand(variable.get("value", ""), result)
        elif (value := _value_from(pod, container, variable["valueFrom"], lookup)) is not None:
            result[variable["name"]] = value
    return result


def build_command(container: Dict, environment: Mapping[str, str]) -> list[str]:
    """Command and arguments; empty when the container leaves it to its image, which is never read here."""
    if not container.get("command"):
        return []
    return [expand(word, environment) for word in (*container["command"], *container.get("args", ()))]


def expand(text: str, environment: Mapping[str, str]) -> str:
    """Replace `$(NAME)`; an unknown name stays as it is written."""

    def replace(match: re.Match[str]) -> str:
        return "$" if match[0] == "$$" else environment.get(match[1], match[0])

    return REFERENCE.sub(replace, text)


def field_value(pod: Dict, path: str) -> str:
    """The value of a `fieldRef`."""
    metadata, spec, status = pod["metadata"], pod["spec"], pod.get("status", {})
    if match := re.fullmatch(r"metadata\.(labels|annotations)\['(.+)'\]", path):
        return str(metadata.get(match[1], {}).get(match[2], ""))
    if match := re.fullmatch(r"metadata\.(labels|annotations)", path):
        pairs = sorted(metadata.get(match[1], {}).items())
        return "\n".join(f"{name}={_quoted(value)}" for name, value in pairs)
    values: dict[str, Any] = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata["uid"],
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", ""),
        "status.hostIP": status.get("hostIP", "127.0.0.1"),
        "status.hostIPs": status.get("hostIP", "127.0.0.1"),
        "status.podIP": status.get("podIP", "127.0.0.1"),
        "status.podIPs": status.get("podIP", "127.0.0.1"),
    }
    if path not in values:
        raise MissingReference(f"fieldRef {path} is not known to this node")
    return str(values[path])


def resource_value(pod: Dict, container: Dict, reference: Dict) -> str:
    """The value of a `resourceFieldRef`, rounded up in units of its divisor."""
    if name := reference.get("containerName"):
        container = next(each for each in pod["spec"]["containers"] if each["name"] == name)
    kind, _, resource = reference["resource"].partition(".")
    amount = container.get("resources", {}).get(kind, {}).get(resource, "0")
    return str(in_units_of(amount, reference.get("divisor") or "1"))


def _whole_object(source: Dict, lookup: Lookup) -> dict[str, str]:
    kind = "ConfigMap" if "configMapRef" in source else "Secret"
    reference = source.get("configMapRef") or source["secretRef"]
    found = lookup(kind, reference["name"])
    if found is None:
        if reference.get("optional"):
            return {}
        raise MissingReference(f'{kind.lower()} "{reference["name"]}" not found')
    return {source.get("prefix", "") + key: value for key, value in text_data(found).items()}


def _value_from(pod: Dict, container: Dict, source: Dict, lookup: Lookup) -> str | None:
    if "fieldRef" in source:
        return field_value(pod, source["fieldRef"]["fieldPath"])
    if "resourceFieldRef" in source:
        return resource_value(pod, container, source["resourceFieldRef"])
    kind = "ConfigMap" if "configMapKeyRef" in source else "Secret"
    reference = source.get("configMapKeyRef") or source["secretKeyRef"]
    found = lookup(kind, reference["name"])
    value = None if found is None else text_data(found).get(reference["key"])
    if value is None and not reference.get("optional"):
        if found is None:
            raise MissingReference(f'{kind.lower()} "{reference["name"]}" not found')
        where = f"{kind} {pod['metadata']['namespace']}/{reference['name']}"
        raise MissingReference(f"couldn't find key {reference['key']} in {where}")
    return value


def text_data(found: Dict) -> dict[str, str]:
    """The text entries of a ConfigMap or Secret."""
    return {key: value.decode(errors="surrogateescape") for key, value in binary_data(found).items()}


def binary_data(found: Dict) -> dict[str, bytes]:
    """All entries of a ConfigMap or Secret, decoded."""
    if found.get("kind") == "Secret":
        return {key: base64.b64decode(value) for key, value in (found.get("data") or {}).items()}
    plain = {key: value.encode() for key, value in (found.get("data") or {}).items()}
    return plain | {key: base64.b64decode(value) for key, value in (found.get("binaryData") or {}).items()}


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
