"""Specs drawn from the CRD's own schema: mostly right, often odd, now and then hostile."""

import copy
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import yaml
from hypothesis import strategies as st

from tests.api.specs import ROOT, a_spec

Schema = dict[str, Any]
Place = tuple[tuple[str | int, ...], Schema]
"""A path in a spec, and the schema of what stands there."""

HOSTILE = (
    "", "\x00", "a\nb", "'", '"', ";", "; rm -rf /", "$(reboot)", "`reboot`", "$'\\x3b'", "-", "--help", "١٢",
    "\u202eabc", "a" * 63, "a" * 64, "a" * 10_000, "NaN", "Inf", "-0", "1e400", "0", "-1", "1,5", "+1",
    "9" * 65,     "file:///etc/passwd", "ftp://host/x", "pvc://claim/../../etc", "pvc://claim/%2e%2e/x", "pvc:///x",
    "https://user:secret@host/x", "https://169.254.169.254/latest", "https://[::1]/x", "https://2130706433/x",
    "hf://owner/name", "s3://bucket\\x", "../../x", "/etc/passwd", "other-namespace/claim", "{{7*7}}", "%s",
)  # fmt: skip
SCALARS = st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-2, 2) | st.sampled_from(HOSTILE)
FEW = 3


@cache
def spec_schema() -> Schema:
    """Of `spec`, as the API server has it."""
    crd = yaml.safe_load((ROOT / "crds/embeddingfinetunes.yaml").read_text())
    schema: Schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return schema


def values(schema: Schema) -> st.SearchStrategy[Any]:
    """What the schema allows, as far as its types, bounds and patterns tell; and some hostile strings."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema.get("x-kubernetes-int-or-string"):
        return st.integers(0, 64) | st.from_regex(schema.get("pattern", "^[0-9]+$"), fullmatch=True)
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return st.dictionaries(st.sampled_from(["a", "seed", "x y", "$(x)"]), SCALARS, max_size=FEW)
    return _BY_TYPE[schema["type"]](schema)


def _strings(schema: Schema) -> st.SearchStrategy[str]:
    least, most = schema.get("minLength", 0), schema.get("maxLength", 60)
    if pattern := schema.get("pattern"):
        right: st.SearchStrategy[str] = st.from_regex(pattern, fullmatch=True).map(
            lambda text: str(text)[:most]
        )
    else:
        right = st.text(min_size=least, max_size=min(most, 60))
    return st.one_of(right, right, right, right, st.sampled_from(HOSTILE))


def _integers(schema: Schema) -> st.SearchStrategy[int]:
    least, most = schema.get("minimum", -10), schema.get("maximum", 1_000_000)
    return st.one_of(st.integers(least, most), st.integers(least, min(most, least + 8)))


def _arrays(schema: Schema) -> st.SearchStrategy[list[Any]]:
    least = schema.get("minItems", 0)
    most = max(least, min(FEW, schema.get("maxItems", FEW)))
    return st.lists(values(schema["items"]), min_size=least, max_size=most)


def _objects(schema: Schema) -> st.SearchStrategy[dict[str, Any]]:
    if "properties" not in schema:
        inner = schema.get("additionalProperties")
        texts = values(inner) if isinstance(inner, dict) else SCALARS
        return st.dictionaries(st.sampled_from(["a", "example.com/b", "query"]), texts, max_size=2)
    parts = {name: values(inner) for name, inner in schema["properties"].items()}
    required = {name: parts.pop(name) for name in schema.get("required", ())}
    # All optional ones at a time are hardly ever right together.
    some = st.lists(st.sampled_from(sorted(parts)), max_size=2, unique=True) if parts else st.just([])
    return some.flatmap(
        lambda chosen: st.fixed_dictionaries({**required, **{name: parts[name] for name in chosen}})
    )


_BY_TYPE: dict[str, Callable[[Schema], st.SearchStrategy[Any]]] = {
    "string": _strings,
    "integer": _integers,
    "number": lambda _: st.floats(-10, 10),
    "boolean": lambda _: st.booleans(),
    "array": _arrays,
    "object": _objects,
}


def places(spec: Any, schema: Schema, path: tuple[str | int, ...] = ()) -> Iterator[Place]:
    """Where something could stand in this spec: every field of what is there."""
    if isinstance(spec, dict):
        for name, inner in schema.get("properties", {}).items():
            yield (*path, name), inner
            yield from places(spec.get(name), inner, (*path, name))
    if isinstance(spec, list):
        for number, part in enumerate(spec):
            yield from places(part, schema["items"], (*path, number))


@st.composite
def specs(draw: st.DrawFn, base: dict[str, Any] | None = None) -> dict[str, Any]:
    """A right spec of which one or two places are drawn anew."""
    spec = copy.deepcopy(base) if base is not None else a_spec()
    for _ in range(draw(st.integers(1, 2))):
        path, schema = draw(st.sampled_from(list(places(spec, spec_schema()))))
        parent: Any = spec
        for part in path[:-1]:
            parent = parent[part]
        parent[path[-1]] = draw(values(schema))
    return spec
