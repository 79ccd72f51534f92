"""docs/reference.md from the CRD's schema: what `kubectl explain` says, on one page."""

from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]

INTRODUCTION = """\
# Reference: EmbeddingFinetune

Every field of `spec` and `status`, generated from the models in `crds/finetune_api`. The same texts answer
`kubectl explain embeddingfinetune.spec`. How to use them: [crds/README.md](../crds/README.md).

Decimals are written as strings ("2e-5"), so that every client reads the same number. A field without a
default is optional unless it is marked **required**. Unknown fields are refused. Every `secretRef` has one
field, `name`: a Secret of the finetune's namespace.
"""


def reference(crd: Schema) -> str:
    """The page, as Markdown."""
    properties = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    sections = [text for part in ("spec", "status") for text in _sections(part, properties[part])]
    return "\n".join([INTRODUCTION, *sections])


def _sections(path: str, node: Schema) -> Iterator[str]:
    """One section for the object at `path`, then one for each object below it."""
    yield "\n".join([f"## `{path}`", "", _text(node.get("description", "")), "", *_table(node), ""])
    if rules := list(_rules(node)):
        yield "\n".join(["Rules:", "", *(f"- {rule}" for rule in rules), ""])
    for name, child in node["properties"].items():
        below, suffix = _object_below(child)
        if below is not None and name != "secretRef":
            yield from _sections(f"{path}.{name}{suffix}", below)


def _object_below(node: Schema) -> tuple[Schema | None, str]:
    if "properties" in node:
        return node, ""
    if "properties" in node.get("items", {}):
        return node["items"], "[]"
    return None, ""


def _table(node: Schema) -> Iterator[str]:
    yield "| field | type | default | bounds | meaning |"
    yield "|---|---|---|---|---|"
    for name, child in node["properties"].items():
        required = "**required**" if name in node.get("required", []) else ""
        default = f"`{_plain(child['default'])}`" if child.get("default", {}) != {} else required
        cells = (f"`{name}`", _type(child), default, "; ".join(_bounds(child)), _text(child["description"]))
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _text(text: str) -> str:
    """One line of Markdown; outside of code `<commit>` would be taken for a tag."""
    parts = " ".join(text.split()).split("`")
    return "`".join(part if n % 2 else part.replace("<", "&lt;") for n, part in enumerate(parts))


def _plain(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _type(node: Schema) -> str:
    if node.get("x-kubernetes-int-or-string"):
        return "quantity"
    if values := node.get("enum"):
        return " or ".join(f"`{value}`" for value in values)
    if "items" in node:
        return f"list of {_type(node['items'])}s"
    if isinstance(values := node.get("additionalProperties"), dict):
        return f"map of {_type(values)}"
    if node.get("x-kubernetes-preserve-unknown-fields"):
        return "free-form object"
    return str(node["type"])


def _bounds(node: Schema) -> Iterator[str]:
    low, high = node.get("minimum"), node.get("maximum")
    if low is not None or high is not None:
        yield f"at least {low}" if high is None else f"{low} to {high}"
    for key, unit in (("Length", "characters"), ("Items", "items"), ("Properties", "entries")):
        least, most = node.get(f"min{key}"), node.get(f"max{key}")
        if most is not None:
            yield f"exactly {most}" if least == most else f"{least or 0} to {most} {unit}"
    if pattern := node.get("pattern"):
        yield f"`{pattern}`"


def _rules(node: Schema) -> Iterator[str]:
    """Of the object, then of its single values."""
    yield from (_text(rule["message"]) for rule in node.get("x-kubernetes-validations", []))
    for name, child in node["properties"].items():
        if "properties" not in child:
            for rule in child.get("x-kubernetes-validations", []):
                yield f"`{name}`: {_text(rule['message'])}"
