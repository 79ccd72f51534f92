import json
import subprocess
from pathlib import Path

import pytest

from finetune_trainer.local.scalars import YamlError, load_documents
from tests.cluster.binaries import find

TABLE = json.loads(Path(__file__).with_name("scalars.json").read_text())
MANIFEST = "apiVersion: embeddings.dev/v1alpha1\nkind: EmbeddingFinetune\nmetadata: {name: a}\nspec:\n"


def spec_of(scalar: str) -> object:
    (document,) = load_documents(f"{MANIFEST}  v: {scalar}\n")
    assert isinstance(document, dict)
    spec = document["spec"]
    assert isinstance(spec, dict)
    return spec["v"]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row["yaml"].encode("unicode_escape").decode())
def test_a_scalar_is_what_kubectl_makes_of_it(row: dict[str, object]) -> None:
    scalar = str(row["yaml"])
    if "refused" in row:
        with pytest.raises(YamlError):
            spec_of(scalar)
        return
    value = spec_of(scalar)
    assert value == row["value"]
    assert json.dumps(value, sort_keys=True) == json.dumps(
        row["value"], sort_keys=True
    )  # tells True, 1 and 1.0 apart


@pytest.mark.cluster
def test_the_table_is_what_the_real_kubectl_says(tmp_path: Path) -> None:
    kubectl = str(find(print)["kubectl"])

    def ask(spec: str) -> "subprocess.CompletedProcess[str]":
        file = tmp_path / "manifest.yaml"
        file.write_text(MANIFEST + spec)
        command = [kubectl, "label", "--local", "--dry-run=client", "-f", str(file), "a=b", "-o", "json"]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    accepted = [row for row in TABLE if "refused" not in row]
    answer = ask("".join(f"  s{i}: {row['yaml']}\n" for i, row in enumerate(accepted)))
    assert answer.returncode == 0, answer.stderr
    spec = json.loads(answer.stdout)["spec"]
    expected = {f"s{i}": row["value"] for i, row in enumerate(accepted)}
    assert {
        k: (v, spec.get(k)) for k, v in expected.items() if json.dumps(spec.get(k)) != json.dumps(v)
    } == {}
    for row in TABLE:
        if "refused" in row:
            assert ask(f"  v: {row['yaml']}\n").returncode != 0, row


def test_a_key_that_appears_twice_is_an_error_with_its_place() -> None:
    with pytest.raises(YamlError, match=r"line 3, column 1: key 'a' appears twice"):
        load_documents("a: 1\nb: 2\na: 3\n")


def test_empty_documents_do_not_count() -> None:
    assert load_documents("---\n# nothing\n---\na: 1\n---\n") == [{"a": 1}]


def test_aliases_and_merge_keys_are_followed() -> None:
    text = "base: &b {x: 1, y_: 2}\nuse:\n  <<: *b\n  x: 3\n"
    assert load_documents(text) == [{"base": {"x": 1, "y_": 2}, "use": {"x": 3, "y_": 2}}]


def test_an_anchor_that_contains_itself_is_refused() -> None:
    with pytest.raises(YamlError, match="contains itself"):
        load_documents("a: &a [*a]\n")


def test_broken_yaml_names_the_line() -> None:
    with pytest.raises(YamlError, match="line 2"):
        load_documents("a: [1,\nb: }\n")


@pytest.mark.parametrize("text", ["!!binary aGk=", "!!set {a}", "{1.5: a}", "!!python/object:os.system x"])
def test_what_no_manifest_needs_is_refused(text: str) -> None:
    with pytest.raises(YamlError):
        spec_of(text)
