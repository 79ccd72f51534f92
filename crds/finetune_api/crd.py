"""The CRD, generated from the models: pydantic's JSON schema made structural, with CEL rules.

`scripts/generate` writes it to crds/embeddingfinetunes.yaml; a test fails when the file differs.
"""

import inspect
from typing import Any

from finetune_api import names
from finetune_api.fields import ApiModel
from finetune_api.spec import FinetuneSpec
from finetune_api.status import FinetuneStatus

JsonSchema = dict[str, Any]

_KEPT = {
    "description", "enum", "maxItems", "maxLength", "maxProperties", "maximum", "minItems",
    "minLength", "minimum", "pattern", "type", "x-kubernetes-int-or-string",
    "x-kubernetes-preserve-unknown-fields", "x-kubernetes-validations",
}  # fmt: skip
_CONVERTED = {"default", "properties", "required", "items", "const"}
_DROPPED = {"title", "additionalProperties", "propertyNames", "$defs", "x-list-map-key"}

_NAME_RULE = {
    "rule": f"self.metadata.name.size() <= {names.MAX_NAME_LENGTH}"
    " && self.metadata.name.matches(r'^[a-z]([-a-z0-9]*[a-z0-9])?$')",
    "message": f"`metadata.name` must begin with a letter, have only a-z, 0-9 and -,"
    f" and at most {names.MAX_NAME_LENGTH} characters",
}


class Inexpressible(TypeError):
    """A model says something that a structural schema cannot."""


def crd() -> dict[str, Any]:
    """The CustomResourceDefinition as a dict."""
    schema = {
        "type": "object",
        "description": inspect.getdoc(FinetuneSpec) or "",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": structural_schema(FinetuneSpec),
            "status": _status_schema(),
        },
        "x-kubernetes-validations": [_NAME_RULE],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names.PLURAL}.{names.GROUP}"},
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": names.KIND,
                "listKind": f"{names.KIND}List",
                "plural": names.PLURAL,
                "singular": names.SINGULAR,
                "shortNames": [names.SHORT_NAME],
                "categories": [names.CATEGORY],
            },
            "versions": [
                {
                    "name": names.VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": _columns(),
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


def _status_schema() -> JsonSchema:
    """Nothing is filled in but that nobody has seen it yet: zeros would be noise to its readers."""
    schema: JsonSchema = _without_defaults(structural_schema(FinetuneStatus))
    return {**schema, "default": {"observedGeneration": -1}}


def _without_defaults(node: Any) -> Any:
    if isinstance(node, list):
        return [_without_defaults(part) for part in node]
    if not isinstance(node, dict):
        return node
    is_leaf = isinstance(node.get("type"), str) and "properties" not in node
    return {k: _without_defaults(v) for k, v in node.items() if not (k == "default" and is_leaf)}


def _columns() -> list[dict[str, Any]]:
    def column(
        name: str, path: str, description: str, *, kind: str = "string", wide: bool = False
    ) -> dict[str, Any]:
        extra = {"priority": 1} if wide else {}
        return {"name": name, "type": kind, "jsonPath": path, "description": description, **extra}

    progress = ".status.progress"
    primary = ".status.evaluation.primary"
    reason = '.status.conditions[?(@.type=="Ready")].reason'
    gate = '.status.conditions[?(@.type=="GatePassed")].status'
    return [
        column("Phase", ".status.phase", "What the run is doing, for people"),
        column("Reason", reason, "Why, in one word; the Ready condition tells more"),
        column("Progress", f"{progress}.percent", "Per cent of the training steps", kind="integer"),
        column("Metric", f"{primary}.tuned", "Primary metric of the tuned model"),
        column("Gain", f"{primary}.gain", "Its gain over the base model"),
        column("Gate", gate, "Whether all gates hold"),
        column("Name", f"{primary}.name", "Name of the primary metric", wide=True),
        column("Base", f"{primary}.baseline", "Primary metric of the base model", wide=True),
        column("Left", f"{progress}.remainingSeconds", "Seconds of training left", kind="integer", wide=True),
        column("Attempt", ".status.run.attempt", "Pods that the run has had", kind="integer", wide=True),
        column("Job", ".status.run.job", "The run's Job", wide=True),
        column("Artifact", ".status.artifact.uri", "The published model", wide=True),
        column("Age", ".metadata.creationTimestamp", "Time since it was applied", kind="date"),
    ]


def structural_schema(model: type[ApiModel]) -> JsonSchema:
    """The structural OpenAPI v3 schema of a model.

    Raises Inexpressible for what a structural schema cannot hold.
    """
    schema = model.model_json_schema(by_alias=True)
    return _convert(schema, schema.get("$defs", {}), {m.__name__: m for m in _models(model)})


def _models(model: type[ApiModel]) -> set[type[ApiModel]]:
    """The model and every model below it."""
    found: set[type[ApiModel]] = set()
    waiting: list[Any] = [model]
    while waiting:
        thing = waiting.pop()
        if inspect.isclass(thing) and issubclass(thing, ApiModel) and thing not in found:
            found.add(thing)
            waiting.extend(f.annotation for f in thing.model_fields.values())
        waiting.extend(getattr(thing, "__args__", ()))
    return found


def _convert(node: JsonSchema, defs: dict[str, JsonSchema], models: dict[str, type[ApiModel]]) -> JsonSchema:
    node = _resolved(node, defs)
    unknown = set(node) - _KEPT - _DROPPED - _CONVERTED
    if unknown:
        raise Inexpressible(
            f"{node.get('title', node)}: {sorted(unknown)} has no place in a structural schema"
        )
    converted = {k: v for k, v in node.items() if k in _KEPT} | _default(node)
    if "const" in node:
        converted |= {"enum": [node["const"]]}
    if properties := node.get("properties"):
        converted["properties"] = {k: _convert(v, defs, models) for k, v in properties.items()}
        converted |= {"required": node["required"]} if node.get("required") else {}
        if rules := models[node["title"]].rules:
            converted["x-kubernetes-validations"] = [r.as_schema() for r in rules]
    elif isinstance(values := node.get("additionalProperties"), dict):
        converted["additionalProperties"] = _convert(values, defs, models)
    if items := node.get("items"):
        converted |= {"items": _convert(items, defs, models)} | _list_type(node)
    return converted


def _default(node: JsonSchema) -> JsonSchema:
    """The default, where it says something: nested fields have their own, an empty list is none."""
    match node.get("default"):
        case None:
            return {}
        case dict() if "properties" in node:
            return {"default": {}}
        case dict() | list() as value if not value:
            return {}
        case value:
            return {"default": value}


def _list_type(node: JsonSchema) -> JsonSchema:
    if key := node.get("x-list-map-key"):
        return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}
    return {"x-kubernetes-list-type": "atomic"}


def _resolved(node: JsonSchema, defs: dict[str, JsonSchema]) -> JsonSchema:
    """References put in place, and `X | None` made an optional X."""
    if choices := node.get("anyOf"):
        real = [c for c in choices if c.get("type") != "null"]
        if len(real) != 1:
            raise Inexpressible(f"{node}: a structural schema has no unions")
        rest = {k: v for k, v in node.items() if k not in {"anyOf", "default"}}
        return _resolved({**real[0], **rest}, defs)
    if reference := node.get("$ref"):
        target = defs[reference.rsplit("/", 1)[1]]
        rest = {k: v for k, v in node.items() if k != "$ref"}
        return _resolved({**target, **rest, "title": target.get("title", "")}, defs)
    return node
