"""The model card: hub metadata, a snippet that fits the type, and text that stays text."""

import ast
import json
import re
from typing import Any

import pytest
import sentence_transformers
import yaml

from finetune_api.results import Artifact
from finetune_trainer.reporting.card import plain, write_card
from finetune_trainer.reporting.full_report import build_full_report, to_bytes
from finetune_trainer.reporting.page import Sample, no_samples
from finetune_trainer.reporting.summary import build_report
from tests.trainer.results_builder import some_results

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def a_full_report(uri: str = "pvc://models/search/3-0123", **model: Any) -> Any:
    results = some_results()
    artifact = Artifact(uri=uri, digest="sha256:0123", run=3, report=f"{uri}/report.json")
    report = build_report(results).model_copy(update={"artifact": artifact})
    full = json.loads(to_bytes(build_full_report(results, report)))
    full["spec"]["model"] |= model
    return full


def front_matter(card: str) -> Any:
    _, content, _ = card.split("---\n", 2)
    return yaml.safe_load(content)


def test_the_front_matter_tells_hubs_what_the_model_is_and_comes_from() -> None:
    full = a_full_report(uri=f"hf://owner/tuned@{COMMIT}")
    full["spec"]["model"]["uri"] = f"hf://owner/base@{COMMIT}"
    full["spec"]["data"]["train"][0]["uri"] = f"hf://owner/pages@{COMMIT}"
    found = front_matter(write_card(full, no_samples))
    assert found["library_name"] == "sentence-transformers"
    assert found["pipeline_tag"] == "sentence-similarity"
    assert found["base_model"] == ["owner/base"]
    assert found["base_model_relation"] == "finetune"
    assert found["datasets"] == ["owner/pages"]
    assert "ndcg@10" in found["metrics"]
    (index,) = found["model-index"]
    assert index["name"] == "search"
    by_data = {r["dataset"]["name"]: r for r in index["results"]}
    assert by_data["test"]["task"] == {"type": "information-retrieval", "name": "InformationRetrieval"}
    assert 0 < by_data["test"]["metrics"][0]["value"] < 1


def test_a_base_model_of_no_hub_and_an_adapter_are_told_as_such() -> None:
    assert "base_model" not in front_matter(write_card(a_full_report(), no_samples))
    full = a_full_report(uri=f"hf://owner/tuned@{COMMIT}", lora={"publish": "Adapter"})
    full["spec"]["model"]["uri"] = f"hf://owner/base@{COMMIT}"
    assert front_matter(write_card(full, no_samples))["base_model_relation"] == "adapter"


@pytest.mark.parametrize(
    ("kind", "name", "call", "pipeline"),
    [
        ("Embedding", "SentenceTransformer", "encode_query", "sentence-similarity"),
        ("Reranker", "CrossEncoder", "predict", "text-ranking"),
        ("Sparse", "SparseEncoder", "encode_query", "feature-extraction"),
        ("MultiVector", "MultiVectorEncoder", "encode_query", "feature-extraction"),
    ],
)
def test_the_snippet_is_code_of_the_model_s_own_class(kind: str, name: str, call: str, pipeline: str) -> None:
    card = write_card(a_full_report(type=kind), no_samples)
    (code,) = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    ast.parse(code)
    assert f"from sentence_transformers import {name}\n" in code
    assert f'model = {name}("3-0123")  # this folder' in code
    for method in re.findall(r"model\.(\w+)\(", code):
        assert hasattr(getattr(sentence_transformers, name), method)
    assert f"model.{call}(" in code
    assert front_matter(card)["pipeline_tag"] == pipeline


def test_a_model_on_a_hub_is_loaded_from_there_at_its_revision() -> None:
    card = write_card(a_full_report(uri=f"hf://owner/tuned@{COMMIT}"), no_samples)
    assert f'SentenceTransformer("owner/tuned", revision="{COMMIT}")' in card


def test_texts_of_the_data_appear_only_where_samples_are_given() -> None:
    full = a_full_report()
    card = write_card(full, no_samples)
    assert "secret text" not in card
    assert "## Examples" not in card
    shown = write_card(full, lambda _, role, identity: [Sample(text=f"text of {role} {identity}")])
    assert "text of query q" in shown
    assert "text of document d" in shown


def test_texts_stay_texts() -> None:
    assert plain("a\n# b") == "a \\# b"
    assert plain("<img src=x>|`x`") == "&lt;img src=x&gt;\\|\\`x\\`"
    full = a_full_report()
    full["notes"] = ["<script>alert(1)</script> [x](javascript:alert)\n# no title"]
    full["name"] = "---\nx: y"
    card = write_card(full, lambda *_: [Sample(text="| a | <b> |\n```\n")])
    assert "<script" not in card
    assert "<b>" not in card
    assert "\n# no title" not in card
    assert not re.search(r"(?<!\\)\](?=\(javascript)", card)
    assert front_matter(card)["model-index"][0]["name"] == "---\nx: y"
    assert card.count("```") % 2 == 0


def test_secrets_are_not_named() -> None:
    full = a_full_report(secretRef={"name": "my-token"})
    assert "my-token" not in write_card(full, no_samples)
