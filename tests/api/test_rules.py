"""What the models refuse and what they accept. test_api_server.py asks the API server the same."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from finetune_api import FinetuneSpec
from finetune_api.crd import crd
from tests.api.cases import ACCEPTED, BROKEN_RULES, GOOD_URIS, HOSTILE_URIS, OUT_OF_BOUNDS, Changes
from tests.api.specs import a_spec, refusal

EXAMPLES = sorted((Path(__file__).parents[2] / "crds/examples").glob("*.yaml"))


def test_the_spec_that_others_are_copies_of_is_right() -> None:
    assert refusal(a_spec()) is None


@pytest.mark.parametrize(("changes", "message"), BROKEN_RULES.values(), ids=BROKEN_RULES)
def test_a_broken_rule_is_told(changes: Changes, message: str) -> None:
    assert message in (refusal(a_spec(changes)) or "accepted")


def test_every_rule_has_a_broken_spec() -> None:
    spec = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert {message for _, message in BROKEN_RULES.values()} == set(_messages(spec))


def _messages(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        yield from (rule["message"] for rule in schema.get("x-kubernetes-validations", []))
        for part in schema.values():
            yield from _messages(part)


@pytest.mark.parametrize("changes", OUT_OF_BOUNDS.values(), ids=OUT_OF_BOUNDS)
def test_what_is_out_of_bounds_is_refused(changes: Changes) -> None:
    assert refusal(a_spec(changes)) is not None


@pytest.mark.parametrize("changes", ACCEPTED.values(), ids=ACCEPTED)
def test_what_is_unusual_but_right_is_accepted(changes: Changes) -> None:
    assert refusal(a_spec(changes)) is None


@pytest.mark.parametrize("uri", GOOD_URIS)
def test_a_good_uri_is_accepted(uri: str) -> None:
    assert refusal(a_spec({"data.train.0.uri": uri})) is None


@pytest.mark.parametrize("uri", HOSTILE_URIS)
def test_a_hostile_uri_is_refused_everywhere(uri: str) -> None:
    for place in ("model.uri", "data.train.0.uri", "data.eval.1.corpus.uri", "output.uri"):
        assert refusal(a_spec({place: uri})) is not None, place


@pytest.mark.parametrize("changes", ACCEPTED.values(), ids=ACCEPTED)
def test_a_spec_survives_the_way_into_the_pod(changes: Changes) -> None:
    spec = FinetuneSpec.model_validate(a_spec(changes))
    assert FinetuneSpec.model_validate(spec.to_dict()) == spec


def test_a_spec_comes_back_as_it_was_written() -> None:
    spec = FinetuneSpec.model_validate(a_spec())
    assert FinetuneSpec.model_validate(spec.to_dict()) == spec


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_an_example_is_accepted(path: Path) -> None:
    assert refusal(yaml.safe_load(path.read_text())["spec"]) is None
