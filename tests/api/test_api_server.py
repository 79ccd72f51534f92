"""The real API server: it accepts what the models accept, and refuses the rest with the same messages."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from finetune_api import FinetuneSpec, names
from tests.api.cases import ACCEPTED, BROKEN_RULES, GOOD_URIS, HOSTILE_URIS, OUT_OF_BOUNDS, Changes
from tests.api.specs import ABSENT, COMMIT, ROOT, a_finetune, a_spec, refusal
from tests.cluster import Cluster
from tests.cluster.waiting import eventually

pytestmark = pytest.mark.cluster

EXAMPLES = sorted((ROOT / "crds/examples").glob("*.yaml"))
Ask = Callable[[dict[str, Any]], dict[str, Any] | str]


def test_the_crd_is_accepted_whole(served: Cluster) -> None:
    """With all its rules: the API server refuses a schema whose rules could cost too much."""
    crd = served.client.get(
        f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{names.PLURAL}.{names.GROUP}"
    )
    assert crd is not None
    conditions = {c["type"]: c["status"] for c in crd["status"]["conditions"]}
    assert conditions["Established"] == "True"
    assert conditions["NamesAccepted"] == "True"
    assert "NonStructuralSchema" not in conditions


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda p: p.stem)
def test_an_example_is_accepted(answer: Ask, path: Path) -> None:
    assert isinstance(answer(yaml.safe_load(path.read_text())), dict)


@pytest.mark.parametrize(("changes", "message"), BROKEN_RULES.values(), ids=BROKEN_RULES)
def test_a_broken_rule_is_told_at_once(answer: Ask, changes: Changes, message: str) -> None:
    assert message in str(answer(a_finetune(a_spec(changes))))


@pytest.mark.parametrize("changes", OUT_OF_BOUNDS.values(), ids=OUT_OF_BOUNDS)
def test_what_is_out_of_bounds_is_refused(answer: Ask, changes: Changes) -> None:
    assert isinstance(answer(a_finetune(a_spec(changes))), str)


@pytest.mark.parametrize("changes", ACCEPTED.values(), ids=ACCEPTED)
def test_what_is_unusual_but_right_is_accepted(answer: Ask, changes: Changes) -> None:
    assert isinstance(answer(a_finetune(a_spec(changes))), dict)


@pytest.mark.parametrize("uri", GOOD_URIS)
def test_a_good_uri_is_accepted(answer: Ask, uri: str) -> None:
    assert isinstance(answer(a_finetune(a_spec({"data.train.0.uri": uri}))), dict)


@pytest.mark.parametrize("uri", HOSTILE_URIS)
def test_a_hostile_uri_is_refused_everywhere(answer: Ask, uri: str) -> None:
    for place in ("model.uri", "data.train.0.uri", "data.eval.1.corpus.uri", "output.uri"):
        assert isinstance(answer(a_finetune(a_spec({place: uri}))), str), place


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("a", True),
        ("a-1", True),
        ("a" * names.MAX_NAME_LENGTH, True),
        ("a" * (names.MAX_NAME_LENGTH + 1), False),
        ("1a", False),
        ("a.b", False),
    ],
)
def test_a_name_leaves_room_for_its_pods(answer: Ask, name: str, good: bool) -> None:
    told = answer(a_finetune(a_spec(), name))
    assert isinstance(told, dict) if good else "`metadata.name` must begin with a letter" in str(told)


def test_the_api_servers_defaults_are_those_of_the_models(answer: Ask) -> None:
    bare = a_spec({"training": {"selection": {"evaluator": "dev"}}})
    stored = answer(a_finetune(bare))
    assert isinstance(stored, dict)
    assert FinetuneSpec.model_validate(stored["spec"]) == FinetuneSpec.model_validate(bare)
    assert (
        stored["spec"]["training"]["learningRate"] == FinetuneSpec.model_validate(bare).training.learning_rate
    )
    assert stored["spec"]["limits"] == FinetuneSpec.model_validate(bare).limits.to_dict()


def test_a_new_finetune_is_not_mistaken_for_a_settled_one(served: Cluster, namespace: str) -> None:
    stored = served.client.create(
        f"/apis/{names.API_VERSION}/namespaces/{namespace}/{names.PLURAL}?dryRun=All", a_finetune(a_spec())
    )
    assert stored["status"]["observedGeneration"] == -1


def test_kubectl_shows_the_columns_by_any_name(served: Cluster, namespace: str) -> None:
    path = f"/apis/{names.API_VERSION}/namespaces/{namespace}/{names.PLURAL}"
    made = served.client.create(path, a_finetune(a_spec()))
    primary = {
        "name": "test_cosine_ndcg@10", "dimension": 64, "queries": 300, "clusters": 290,
        "comparedTo": "Base", "baseline": "0.888", "tuned": "0.947", "gain": "0.059",
    }  # fmt: skip
    said = {"lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1}
    conditions = [
        {"type": "Ready", "status": "Unknown", "reason": "Running", **said},
        {"type": "GatePassed", "status": "True", "reason": "GatesPassed", **said},
    ]
    status = {
        "observedGeneration": 1, "phase": "Publishing", "progress": {"percent": 100},
        "evaluation": {"primary": primary}, "conditions": conditions,
    }  # fmt: skip
    served.client.put(f"{path}/one/status", {**made, "status": status})
    for word in ("eft", "ml", names.PLURAL, names.KIND):
        header, row = served.kubectl("get", word, "-n", namespace).strip().splitlines()
        assert header.split() == ["NAME", "PHASE", "REASON", "PROGRESS", "METRIC", "GAIN", "GATE", "AGE"]
        assert row.split()[:-1] == ["one", "Publishing", "Running", "100", "0.947", "0.059", "True"]


def test_kubectl_explains_every_field(served: Cluster) -> None:
    def explained() -> str:
        text = served.kubectl("explain", "eft.spec.evaluation.gates")
        return text if "minimumGain" in text else ""

    assert "The lower end of the gain's 95 % interval" in eventually(
        explained, "the API server's documentation"
    )


POOL: dict[str, list[Any]] = {
    "model.uri": [f"hf://o/n@{COMMIT}", "pvc://c/a", "pvc://c/..", "https://h/a", f"hf://o/n@{COMMIT}\n", 1],
    "model.truncateDim": [64, 96, 0, 65_537],
    "loss": [{}, {"matryoshkaDims": [128, 64]}, {"matryoshkaDims": [64, 64]}, {"args": {"a": [1.5, None]}}],
    "data.train.0.subset": ["en", "", "a b"],
    "data.train.0.uri": [f"hf://o/n@{COMMIT}", "pvc://c", "https://h/a", "https://u@h/a", "s3://b/k"],
    "data.eval.0.columns": [ABSENT, {"query": "a"}, {"query": "a", "positive": "b", "negatives": ["c", ""]}],
    "data.eval.1.qrels": [ABSENT, {"uri": "pvc://c", "query": "q", "document": "d", "minimumGrade": 1001}],
    "data.eval.1.name": ["dev", "test", "Test", ""],
    "evaluation.primary.evaluator": ["dev", "test", "other"],
    "evaluation.primary.metric": ["ndcg@10", "map@999", "ndcg@01", "ndcg", "accuracy", "mean_accuracy"],
    "evaluation.evaluators.1.type": ["Reranking", "Triplet", "Translation", "Classification", "triplet"],
    "evaluation.compareTo": ["Base", "None", "Published"],
    "evaluation.gates.0.evaluator": ["dev", "test", "other"],
    "evaluation.gates.0.minimum": [ABSENT, "0", "1", "1.01", "-0", "-1e-9", "1e-99"],
    "evaluation.gates.0.metric": ["ndcg@10", "map", "accuracy", "recall@", "ap"],
    "evaluation.gates.0.maximumDrop": ["0", "1", "1.1"],
    "evaluation.gates.0.minimumGain": [ABSENT, "-1", "-1.0000001", "0.999999", "1.0", "1e0"],
    "training": [
        {"selection": {"evaluator": "dev"}}, {"selection": {"evaluator": "test"}},
        {"epochs": "1e4"}, {"epochs": "10000.1"}, {"learningRate": "0e5"}, {"batchSize": 2, "seed": 0},
    ],
    "output.uri": ["pvc://c/a", "pvc://C", "pvc://" + "c" * 250, "pvc://" + "c" * 251],
    "runtime": [{"gpusPerNode": 0}, {"resources": {"limits": {"cpu": "1e3"}}}, {"gpuResourceName": "a/b"}],
    "limits": [{"retries": 101}, {"pendingSeconds": 10}, {"pendingSeconds": 9}, {"activeSeconds": 1}],
}  # fmt: skip


@st.composite
def some_changes(draw: st.DrawFn) -> Changes:
    paths = draw(st.lists(st.sampled_from(sorted(POOL)), max_size=4, unique=True))
    return {path: draw(st.sampled_from(POOL[path])) for path in paths}


@settings(max_examples=150)
@given(changes=some_changes())
def test_models_and_api_server_agree_on_any_spec(answer: Ask, changes: Changes) -> None:
    spec = a_spec(changes)
    told = answer(a_finetune(spec))
    assert isinstance(told, dict) == (refusal(spec) is None), f"{told}\n{refusal(spec)}"
