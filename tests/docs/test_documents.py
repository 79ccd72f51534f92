"""What the documents say can be followed: links, files, make targets and specs."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from finetune_api import FinetuneSpec
from finetune_api.crd import crd

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("crds/*.md"), *ROOT.glob("docs/*.md")])


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    prose = re.sub(r"```.*?```|`[^`\n]*`", "", document.read_text(), flags=re.DOTALL)
    links = re.findall(r"\]\(([^)#:]+)\)", prose)
    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_every_make_target_exists(document: Path) -> None:
    asked = {
        word
        for block in blocks(document, "sh")
        for word in re.findall(r"^make ([a-z]+)", block, re.MULTILINE)
    }
    assert asked <= set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_every_script_that_is_named_exists(document: Path) -> None:
    named = set(re.findall(r"\b(scripts/[a-z]+)\b", document.read_text()))
    assert [name for name in named if shutil.which(ROOT / name) is None] == []


def test_the_readmes_first_finetune_is_accepted() -> None:
    (finetune,) = (
        b for b in blocks(ROOT / "README.md", "yaml") if "kind: EmbeddingFinetune" in b and "spec:" in b
    )
    FinetuneSpec.model_validate(yaml.safe_load(finetune)["spec"])


def test_the_readmes_first_finetune_is_the_demos() -> None:
    """With fewer words: what it leaves out changes memory and speed, or is the default."""
    (text,) = (b for b in blocks(ROOT / "README.md", "yaml") if "spec:" in b)
    shown = yaml.safe_load(text)
    example = yaml.safe_load((ROOT / "crds/examples/german-search.yaml").read_text())
    assert shown["metadata"] == example["metadata"]
    for part in ("data", "loss", "training", "output"):
        assert _contains(example["spec"][part], shown["spec"][part]), part


def _contains(whole: object, part: object) -> bool:
    if isinstance(whole, dict) and isinstance(part, dict):
        return all(key in whole and _contains(whole[key], value) for key, value in part.items())
    return whole == part


def test_the_readmes_status_is_one_that_the_operator_could_write() -> None:
    (text,) = (b for b in blocks(ROOT / "README.md", "yaml") if b.startswith("status:"))
    schema = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    assert list(_strange(yaml.safe_load(text)["status"], schema, "status")) == []


def _strange(value: Any, schema: dict[str, Any], path: str) -> Iterator[str]:
    """Parts that the schema does not have."""
    if isinstance(value, dict):
        for name, part in value.items():
            if name in schema["properties"]:
                yield from _strange(part, schema["properties"][name], f"{path}.{name}")
            else:
                yield f"{path}.{name}"
    elif isinstance(value, list):
        for part in value:
            yield from _strange(part, schema["items"], f"{path}[]")


def test_every_reason_that_is_explained_is_given_somewhere() -> None:
    rows = re.findall(
        r"^\| (`[A-Z][A-Za-z]+`(?:, `[A-Z][A-Za-z]+`)*) \|",
        (ROOT / "crds/README.md").read_text(),
        re.MULTILINE,
    )
    reasons = {reason for row in rows for reason in re.findall(r"`(\w+)`", row)}
    sources = [p for folder in ("operator", "trainer_image") for p in (ROOT / folder).rglob("*.py")]
    code = "\n".join(path.read_text() for path in sources)
    assert reasons
    assert {reason for reason in reasons if f'"{reason}"' not in code} == set()


def test_every_reason_that_the_operator_gives_is_explained() -> None:
    page = (ROOT / "docs/reasons.md").read_text()
    code = "".join(path.read_text() for path in (ROOT / "operator/finetune_operator/decisions").glob("*.py"))
    raised = re.findall(r'(?:Stalled|Waiting)\(\s*"([A-Z][A-Za-z]+)"|\breason="([A-Z][A-Za-z]+)"', code)
    assert {word for words in raised for word in words if word and f"`{word}`" not in page} == set()
