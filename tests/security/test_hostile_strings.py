"""Hostile strings in every field of a spec: refused, or kept out of the pod's manifest, or literal in it."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from finetune_api.crd import crd
from finetune_api.spec import FinetuneSpec
from finetune_operator.decisions.pod_additions import literal
from tests.api.pod_cases import HOSTILE_VALUES
from tests.plan import world
from tests.plan.test_manifests import FULL

Path = tuple[str | int, ...]
HOSTILE = tuple(value for value in HOSTILE_VALUES if value)
LITERAL = {("env", "value"), ("annotations", "cluster-autoscaler.kubernetes.io/safe-to-evict")}
"""The only places of a manifest that take any text."""


def _strings(node: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    match node:
        case dict():
            for key, value in node.items():
                yield from _strings(value, (*path, key))
        case list():
            for index, value in enumerate(node):
                yield from _strings(value, (*path, index))
        case str():
            yield path, node
        case _:
            pass


def _with(spec: world.Object, path: Path, value: str | int) -> world.Object:
    spec = copy.deepcopy(spec)
    *parents, last = path
    part: Any = spec
    for key in parents:
        part = part[key]
    part[last] = value
    return spec


def _job(spec: world.Object) -> world.Object:
    account = {"metadata": {"labels": {"embeddings.dev/allow-finetunes": "true"}}}
    _, job = world.decide(world.a_look(world.a_finetune(spec), service_account=account)).create
    return job


def _is_accepted(spec: world.Object) -> bool:
    try:
        FinetuneSpec.model_validate(spec)
    except ValidationError:
        return False
    return True


PATHS = [path for path, _ in _strings(FULL)]


@pytest.mark.parametrize("value", HOSTILE, ids=repr)
def test_a_hostile_string_is_refused_or_stays_out_of_the_manifest_or_is_literal(value: str) -> None:
    for path in PATHS:
        spec = _with(FULL, path, value)
        if not _is_accepted(spec):
            continue
        for place, text in _strings(_job(spec)):
            if value in text or literal(value) in text:
                found = (place[-3] if isinstance(place[-2], int) else place[-2], place[-1])
                assert found in LITERAL, f"{path} reaches {place}"
                assert text == (literal(value) if found[0] == "env" else value)


@pytest.mark.parametrize("key", HOSTILE, ids=repr)
def test_a_hostile_key_is_refused_in_every_map_of_the_runtime(key: str) -> None:
    within = (path for path in PATHS if path[0] == "runtime" and isinstance(path[-1], str))
    for path in {path[:-1] for path in within}:
        for value in ("", 1):
            assert not _is_accepted(_with(FULL, (*path, key), value)), path


def test_the_spec_that_is_tried_has_every_text_of_the_runtime() -> None:
    """Or a field that was added later would not be tried."""
    spec = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    known = {_end(path) for path in _texts(spec["properties"]["runtime"], ("runtime",))}
    tried = {_end(path) for path in PATHS}
    assert known - tried == {("checkpoints", "claim")}, "which has either a claim or a uri"


def _end(path: Path) -> tuple[str, ...]:
    """A field and what it is a field of, without the keys of maps and the numbers of items."""
    maps = {"labels", "annotations", "nodeSelector", "matchLabels"}
    named = [str(p) for p in path if not isinstance(p, int) and p != "*"]
    known = next((n for n, part in enumerate(named) if part in maps), len(named))
    return tuple(named[: known + 1][-2:])


def _texts(node: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Paths of all texts of a schema, but for quantities; `*` for any item or key."""
    if node.get("type") == "string" and "enum" not in node:
        yield path
    for key, child in node.get("properties", {}).items():
        yield from _texts(child, (*path, key))
    for child in (node.get("items"), node.get("additionalProperties")):
        if child:
            yield from _texts(child, (*path, "*"))


def test_the_search_finds_a_text_that_gets_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("finetune_operator.decisions.pod_additions.literal", lambda value: value)
    with pytest.raises(AssertionError):
        test_a_hostile_string_is_refused_or_stays_out_of_the_manifest_or_is_literal("$(A)")


def test_the_command_is_fixed_whatever_the_spec_says() -> None:
    for spec in (FULL, world.SPEC):
        (container,) = _job(spec)["spec"]["template"]["spec"]["containers"]
        assert container["command"] == ["finetune-trainer", "pod"]
        assert not {"args", "lifecycle", "livenessProbe", "startupProbe"} & set(container)


def test_what_the_manifest_is_made_of_has_no_shell_in_it() -> None:
    words = json.dumps([_job(FULL), _job(world.SPEC)]).replace('"', " ").split()
    assert not {"sh", "bash", "/bin/sh", "/bin/bash", "-c"} & set(words)
