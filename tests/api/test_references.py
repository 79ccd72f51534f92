"""What a spec names outside of itself."""

from collections.abc import Iterator
from typing import Any

from finetune_api import FinetuneSpec
from finetune_api.crd import crd
from finetune_api.references import Reference
from finetune_api.uris import ConfigMapUri, HttpsUri, PvcUri, StoreUri
from tests.api.specs import a_spec


def references(changes: dict[str, Any]) -> list[Reference]:
    return list(FinetuneSpec.model_validate(a_spec(changes)).references())


def test_every_uri_is_found_with_the_secret_beside_it() -> None:
    found = references(
        {
            "model.uri": "s3://bucket/base",
            "model.secretRef": {"name": "s3"},
            "data.train.0.uri": "configmap://rows/train.jsonl",
            "data.eval.1.qrels.uri": "https://host/corpus.csv",
            "data.eval.1.qrels.secretRef": {"name": "web"},
            "output.uri": "s3://bucket/tuned",
        }
    )
    assert [(r.uri, r.secret) for r in found if not isinstance(r.uri, PvcUri)] == [
        (StoreUri("s3", "bucket", "base"), "s3"),
        (ConfigMapUri("rows", "train.jsonl"), None),
        (HttpsUri("https://host/corpus.csv"), "web"),
        (StoreUri("s3", "bucket", "tuned"), None),
    ]
    assert [r.is_target for r in found] == [False] * (len(found) - 1) + [True]


def test_claims_and_config_maps_are_named() -> None:
    found = references({"data.train.0.uri": "configmap://rows/train.jsonl"})
    assert {r.config_map for r in found} == {None, "rows"}
    assert {r.claim for r in found} == {None, "data", "models"}


def test_whatever_may_hold_a_secret_has_a_uri_beside_it() -> None:
    """References are found by these two names: a field called otherwise would never be mounted."""
    spec = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    for properties in _objects(spec):
        assert "secretRef" not in properties or "uri" in properties, sorted(properties)
        strange = [n for n, p in properties.items() if _is_uri(p) and n != "uri"]
        assert strange == []


def _objects(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if isinstance(properties := node.get("properties"), dict):
            yield properties
        for child in node.values():
            yield from _objects(child)


def _is_uri(node: dict[str, Any]) -> bool:
    return any("must begin with" in r["message"] for r in node.get("x-kubernetes-validations", []))
