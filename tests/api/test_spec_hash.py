"""specHash: what counts, and what does not."""

from typing import Any

import pytest

from finetune_api import FinetuneSpec
from finetune_api.spec_hash import spec_hash
from tests.api.cases import ROUTED
from tests.api.specs import ABSENT, COMMIT, a_spec

SAME_RESULT: dict[str, dict[str, Any]] = {
    "a default written out": {"training": {"batchSize": 64, "learningRate": "2e-5"}},
    "the usual similarity written out": {"model.similarity": "cosine"},
    "an empty part": {"loss": {}, "training": {}, "runtime": {}},
    "the same rate in other words": {"training": {"learningRate": "0.00002"}},
    "a default in other words": {"training": {"epochs": "1.00", "warmupRatio": "1e-1"}},
    "another gate": {"evaluation.gates": [{"evaluator": "dev", "minimum": "0.1"}]},
    "no gate": {"evaluation.gates": ABSENT},
    "a secret": {"model.secretRef": {"name": "token"}},
    "more memory": {"runtime": {"resources": {"limits": {"memory": "1Gi"}}, "gpusPerNode": 0}},
    "other limits": {"limits": {"retries": 0}},
    "suspended": {"suspend": True},
    "no reason to run again": {"rerun": ""},
    "checkpoints": {"runtime": {"checkpoints": {"claim": "scratch"}}},
    "a queue": {"runtime": {"queueName": "team-a"}},
    "more versions kept": {"output.keep": 9},
    "the headline in so many words": {"evaluation.primary.metric": "ndcg@10"},
}
OTHER_RESULT: dict[str, dict[str, Any]] = {
    "another model": {"model.uri": f"hf://owner/other@{COMMIT}"},
    "another similarity": {"model.similarity": "dot"},
    "a prompt": {"model.prompts": {"query": "search: "}},
    "no prompt, instead of the saved ones": {"model.prompts": {}},
    "another column": {"data.train.0.columns.query": "title"},
    "other data to measure on": {"data.eval.0.uri": "pvc://data/other"},
    "overlap": {"data.overlap": "Drop"},
    "dimensions": {"loss": {"matryoshkaDims": [64]}},
    "an argument of the loss": {"loss": {"args": {"scale": 30}}},
    "another rate": {"training": {"learningRate": "3e-5"}},
    "another seed": {"training": {"seed": 43}},
    "a selection": {"training": {"selection": {"evaluator": "dev"}}},
    "an argument of an evaluator": {"evaluation.evaluators.0.args": {"ndcg_at_k": [5]}},
    "another headline": {"evaluation.primary.metric": "mrr@10"},
    "no baseline": {"evaluation.compareTo": "None", "evaluation.gates": ABSENT},
    "another target": {"output.uri": "pvc://models/two"},
    "no target": {"output": ABSENT},
    "asked to run again": {"rerun": "2026-11-26"},
    "an image of its own": {"runtime": {"image": "trainer:2"}},
}


def test_an_optional_decimal_is_the_same_however_it_is_written() -> None:
    rates = [{**ROUTED, "model.encoders.0.learningRate": rate} for rate in ("1e-4", "0.0001", "2e-4")]
    first, same, other = map(hash_with, rates)
    assert first == same != other


def hash_with(changes: dict[str, Any] | None = None) -> str:
    return spec_hash(FinetuneSpec.model_validate(a_spec(changes)))


@pytest.mark.parametrize("changes", SAME_RESULT.values(), ids=SAME_RESULT)
def test_the_same_result_has_the_same_hash(changes: dict[str, Any]) -> None:
    assert hash_with(changes) == hash_with()


@pytest.mark.parametrize("changes", OTHER_RESULT.values(), ids=OTHER_RESULT)
def test_what_may_change_the_result_changes_the_hash(changes: dict[str, Any]) -> None:
    assert hash_with(changes) != hash_with()


def test_a_number_among_arguments_is_the_same_however_it_is_written() -> None:
    hashes = {hash_with({"training": {"args": {"max_steps": n}}}) for n in (10, 10.0, 1e1)}
    assert len(hashes) == 1


@pytest.mark.parametrize(
    ("one", "other"), [(1, True), (1, "1"), (1.5, "1.5"), ("1", "1.0"), (0, None), ([1], 1), ("", None)]
)
def test_values_of_different_kinds_stay_different(one: object, other: object) -> None:
    assert len({hash_with({"training": {"args": {"x": value}}}) for value in (one, other)}) == 2


def test_columns_that_look_like_equal_numbers_stay_different() -> None:
    assert hash_with({"data.train.0.columns.query": "1"}) != hash_with({"data.train.0.columns.query": "1.0"})


def test_an_argument_called_like_a_secret_counts() -> None:
    assert hash_with({"training": {"args": {"secretRef": 1}}}) != hash_with()


def test_the_hash_of_a_known_spec_stays() -> None:
    """A new hash re-trains every finetune of every user: change VERSION, and give them a way around it."""
    assert hash_with() == "v1:38017421b2f592d723ac9a93b009df8d"
