"""Reads a manifest's YAML with every scalar resolved exactly as kubectl does.

`finetune-trainer run` and a cluster must see one spec: `1e-2` is a number, `1:30` and dates are texts, `on`
and `y` are booleans, `0o17` is fifteen, `1.0` arrives as the integer 1. The rules are those of Go's yaml.v2,
by way of JSON, which kubectl uses; the tests hold them against the real kubectl. Stricter than it: a key may
appear once, and tags that no manifest needs are refused.
"""

import math
import re
from decimal import Decimal
from typing import Any

import yaml

_PLAIN = "!plain"
_STR = "tag:yaml.org,2002:str"
_TAG_PREFIX = "tag:yaml.org,2002:"
_MERGE = "<<"

_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}
_BASES = {"0x": 16, "0X": 16, "0b": 2, "0B": 2, "0o": 8, "0O": 8}
_INTEGER = re.compile(r"[-+]?(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_INT64 = range(-(2**63), 2**63)
_UINT64 = range(-(2**63), 2**64)
_FIRST_WITH_EXPONENT = 1e21

_TYPES: dict[str, tuple[type, ...]] = {
    "int": (int,), "float": (int, float), "bool": (bool,), "null": (type(None),),
}  # fmt: skip

Json = dict[str, "Json"] | list["Json"] | str | int | float | bool | None


class YamlError(ValueError):
    """The text is not what kubectl would accept. The message has line and column."""


class _Loader(yaml.SafeLoader):
    """Tags every plain scalar `!plain` instead of guessing what it is."""

    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012 - the base class's own name


_Loader.add_implicit_resolver(_PLAIN, re.compile(""), None)


def load_documents(text: str) -> list[Json]:
    """All documents of a YAML text, empty ones left out. Raises YamlError."""
    try:
        nodes = list(yaml.compose_all(text, _Loader))
    except yaml.YAMLError as error:
        raise YamlError(f"not YAML: {' '.join(str(error).split())}") from error
    documents = [_value(node, ()) for node in nodes]
    return [d for d in documents if d is not None]


def resolve(text: str) -> str | int | float | bool | None:
    """What kubectl makes of a plain scalar. Raises YamlError for infinities and NaN, which JSON lacks."""
    if text in _WORDS:
        return _WORDS[text]
    if _NOT_FINITE.fullmatch(text):
        raise YamlError(f"{text} is no JSON number: write a finite one, or quote it")
    plain = text.replace("_", "") if text[0] in "+-0123456789" else text
    number = _integer(plain)
    return number if number is not None else _float(plain, text)


def _integer(plain: str) -> int | float | None:
    if not _INTEGER.fullmatch(plain):
        return None
    digits = plain.lstrip("+-")
    base = _BASES.get(digits[:2], 8 if digits.startswith("0") else 10)
    number = int(digits[2:] if digits[:2] in _BASES else digits, base)
    number = -number if plain.startswith("-") else number
    if number in _INT64:
        return number
    # Past 64 bits only decimals are numbers, by way of a float.
    return _through_json(float(number)) if number in _UINT64 or base == 10 else None


def _float(plain: str, text: str) -> str | int | float:
    if not _FLOAT.fullmatch(plain) or not math.isfinite(number := float(plain)):
        return text
    return _through_json(number)


def _through_json(number: float) -> int | float:
    """A whole float is written to JSON without point or exponent (below 1e21), so an integer arrives."""
    if not number.is_integer() or abs(number) >= _FIRST_WITH_EXPONENT:
        return number
    return int(Decimal(repr(number)))


def _value(node: yaml.Node, above: tuple[yaml.Node, ...]) -> Json:
    if any(node is a for a in above):
        raise _error(node, "an anchor contains itself")
    match node:
        case yaml.MappingNode() if node.tag == f"{_TAG_PREFIX}map":
            return _mapping(node, (*above, node))
        case yaml.SequenceNode() if node.tag == f"{_TAG_PREFIX}seq":
            return [_value(n, (*above, node)) for n in node.value]
        case yaml.ScalarNode():
            return _scalar(node)
        case _:
            raise _error(node, f"{node.tag} is not for a manifest")


def _mapping(node: yaml.MappingNode, above: tuple[yaml.Node, ...]) -> dict[str, Json]:
    result: dict[str, Json] = {}
    seen: set[str] = set()
    for key_node, value_node in node.value:
        if key_node.tag == _PLAIN and key_node.value == _MERGE:
            # In order of appearance, as yaml.v2 does it: a later merge key wins over an earlier key.
            result |= _merged(value_node, above)
            continue
        key = _key(key_node)
        if key in seen:
            raise _error(key_node, f"key {key!r} appears twice")
        seen.add(key)
        result[key] = _value(value_node, above)
    return result


def _merged(node: yaml.Node, above: tuple[yaml.Node, ...]) -> dict[str, Json]:
    """The mappings behind a merge key; the first of a list wins."""
    sources = node.value if isinstance(node, yaml.SequenceNode) else [node]
    result: dict[str, Json] = {}
    for source in sources:
        if not isinstance(source, yaml.MappingNode):
            raise _error(source, "a merge key (<<) needs a mapping, or a list of mappings")
        result = _mapping(source, (*above, source)) | result
    return result


def _key(node: yaml.Node) -> str:
    key = _scalar(node) if isinstance(node, yaml.ScalarNode) else None
    match key:
        case bool():
            return str(key).lower()
        case str() | int():
            return str(key)
        case _:
            raise _error(node, "a key must be a text")


def _scalar(node: yaml.ScalarNode) -> str | int | float | bool | None:
    text = str(node.value)
    try:
        if node.tag == _PLAIN:
            return resolve(text)
        if not node.tag.startswith(_TAG_PREFIX) or node.tag == _STR:
            return text
        return _tagged(node.tag.removeprefix(_TAG_PREFIX), text)
    except YamlError as error:
        raise _error(node, str(error)) from error


def _tagged(tag: str, text: str) -> str | int | float | bool | None:
    """A scalar with an explicit `!!tag`: resolved as if plain, and then it must be of that type."""
    if tag not in _TYPES:
        raise YamlError(f"tag !!{tag} is not for a manifest")
    value = resolve(text)
    is_float = type(value) is float or (type(value) is int and _integer(text.replace("_", "")) is None)
    if type(value) not in _TYPES[tag] or (tag == "int" and is_float):
        raise YamlError(f"{text!r} is no !!{tag}")
    return value


def _error(node: yaml.Node, message: str) -> YamlError:
    return YamlError(f"line {node.start_mark.line + 1}, column {node.start_mark.column + 1}: {message}")
