"""The generated CRD: what is in it, and what the generator refuses."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
import yaml
from pydantic import Field

from finetune_api.crd import Inexpressible, crd, structural_schema
from finetune_api.fields import ApiModel

ROOT = Path(__file__).parents[2]
Schema = dict[str, Any]


def the_version() -> Schema:
    return dict(crd()["spec"]["versions"][0])


def parts() -> Iterator[tuple[str, Schema]]:
    """Path and schema of every part of spec and status."""
    schema = the_version()["schema"]["openAPIV3Schema"]
    for name in ("spec", "status"):
        yield from _below(name, schema["properties"][name])


def _below(path: str, node: Schema) -> Iterator[tuple[str, Schema]]:
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from _below(f"{path}.{name}", child)
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if isinstance(child := node.get(key), dict):
            yield from _below(path + mark, child)


def test_the_committed_files_are_the_generated_ones() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/generate", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\nrun scripts/generate and commit what it writes"


def test_the_reference_has_every_part() -> None:
    text = (ROOT / "docs/reference.md").read_text()
    sections = {
        line.removeprefix("## `").removesuffix("`") for line in text.splitlines() if line.startswith("## ")
    }
    objects = {path for path, node in parts() if "properties" in node and not path.endswith("secretRef")}
    assert sections == objects


def test_every_field_is_described() -> None:
    named = [
        path for path, node in parts() if not path.endswith(("[]", "{}")) and not node.get("description")
    ]
    assert named == []


def test_everything_a_user_writes_has_an_upper_bound() -> None:
    """Without it the API server estimates the cost of a rule as if the value were as large as a request."""
    bound = {"string": "maxLength", "array": "maxItems", "integer": "maximum"}
    unbound = [
        path
        for path, node in parts()
        if path.startswith("spec")
        if (wanted := bound.get(node.get("type", ""))) and wanted not in node and "enum" not in node
    ]
    assert unbound == []


def test_every_map_a_user_writes_has_an_upper_bound() -> None:
    maps = [
        (path, node)
        for path, node in parts()
        if path.startswith("spec") and ("additionalProperties" in node or _is_free(node))
    ]
    assert maps
    assert [path for path, node in maps if "maxProperties" not in node] == []


def _is_free(node: Schema) -> bool:
    return bool(node.get("x-kubernetes-preserve-unknown-fields"))


def test_status_texts_and_lists_are_bounded() -> None:
    bound = {"string": "maxLength", "array": "maxItems"}
    unbound = [
        path
        for path, node in parts()
        if (wanted := bound.get(node.get("type", ""))) and wanted not in node and "enum" not in node
    ]
    assert unbound == []


def test_no_reference_names_a_namespace() -> None:
    assert [path for path, _ in parts() if "namespace" in path.lower()] == []


def test_free_form_is_left_to_arguments() -> None:
    free = {path for path, node in parts() if _is_free(node)}
    assert free == {
        "spec.model.processor", "spec.model.encoders[].processor",
        "spec.loss.args", "spec.loss.inner.args", "spec.training.args",
        "spec.data.train[].loss.args", "spec.data.train[].loss.inner.args",
        "spec.evaluation.evaluators[].args",
    }  # fmt: skip


def test_every_message_says_what_must_be() -> None:
    rules = [rule for _, node in parts() for rule in node.get("x-kubernetes-validations", [])]
    assert rules
    assert [rule["message"] for rule in rules if "must" not in rule["message"]] == []


def test_status_begins_before_anybody_has_seen_it() -> None:
    schema = the_version()["schema"]["openAPIV3Schema"]
    assert schema["properties"]["status"]["default"] == {"observedGeneration": -1}


def test_no_status_is_filled_with_what_says_nothing() -> None:
    def parts(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
        yield node
        for below in node.get("properties", {}).values():
            yield from parts(below)

    fields = the_version()["schema"]["openAPIV3Schema"]["properties"]["status"]["properties"].values()
    assert not [part for field in fields for part in parts(field) if "default" in part]


def test_columns_show_the_run_at_a_glance() -> None:
    columns = the_version()["additionalPrinterColumns"]
    assert [c["name"] for c in columns if "priority" not in c] == [
        "Phase", "Reason", "Progress", "Metric", "Gain", "Gate", "Age",
    ]  # fmt: skip


def test_no_text_of_the_file_is_read_as_a_number_by_kubectl() -> None:
    """YAML 1.1, as Python reads it, takes 2e-5 for a text; kubectl takes it for a number."""
    text = (ROOT / "crds/embeddingfinetunes.yaml").read_text()
    assert "default: '2e-5'" in text
    assert yaml.safe_load(text) == crd()


class Union(ApiModel):
    """Two types in one field."""

    value: int | str


class Excluding(ApiModel):
    """A bound that Kubernetes has in another form."""

    value: Annotated[float, Field(gt=0)]


class Keyed(ApiModel):
    """A tuple."""

    value: tuple[int, str]


@pytest.mark.parametrize("model", [Union, Excluding, Keyed], ids=lambda m: m.__name__)
def test_the_generator_refuses_what_a_structural_schema_cannot_say(model: type[ApiModel]) -> None:
    with pytest.raises(Inexpressible):
        structural_schema(model)
