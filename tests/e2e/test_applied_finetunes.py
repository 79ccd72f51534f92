"""Finetunes applied to a real API server and run by the real trainer: what a user sees, good and bad."""

import json
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.tiny_models import build_text_model
from finetune_api import names
from finetune_api.status import FinetuneStatus
from tests.cluster import Cluster
from tests.cluster.claims import make_claim
from tests.cluster.waiting import eventually
from tests.operator.process import QUICK_LEASE, Operator, install_chart, running_operator
from tests.trainer.builders import write_jsonl, write_page

pytestmark = [pytest.mark.cluster, pytest.mark.training]

WORDS = 14
RUN_SECONDS = 240.0
"""A trainer needs ten seconds of a core for its imports alone, and six of them share two."""


@pytest.fixture(scope="module")
def operator(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    install_chart(cluster)
    log = tmp_path_factory.mktemp("operator") / "operator.log"
    with running_operator(cluster, log=log, settings=QUICK_LEASE) as running:
        yield running


@pytest.fixture(scope="module")
def text_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models") / "text"
    build_text_model(path, [row[side] for row in _rows(held_out=False) for side in ("query", "positive")])
    return path


def _rows(*, held_out: bool) -> list[dict[str, str]]:
    """Query and document say two words, each in its own language; every fifth pair is held out."""
    pairs = [(a, b) for a in range(WORDS) for b in range(WORDS) if a != b]
    return [
        {"query": f"ka{a:02d} ka{b:02d}", "positive": f"zu{a:02d} zu{b:02d}"}
        for number, (a, b) in enumerate(pairs)
        if (number % 5 == 0) == held_out
    ]


class World:
    """A namespace with volumes, and the finetunes applied in it."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.path = f"/apis/{names.API_VERSION}/namespaces/{namespace}/{names.PLURAL}"
        self.claims = cluster.volumes_dir / namespace

    def fill(self, text_model: Path) -> None:
        """Claims models, data and published with a tiny model and a tiny language."""
        for claim in ("models", "data", "published"):
            make_claim(self.cluster, self.namespace, claim).mkdir(parents=True, exist_ok=True)
        shutil.copytree(text_model, self.claims / "models/tiny")
        write_jsonl(self.claims / "data/train.jsonl", _rows(held_out=False))
        write_jsonl(self.claims / "data/test.jsonl", _rows(held_out=True))

    def apply(self, name: str, spec: dict[str, Any]) -> None:
        manifest = {
            "apiVersion": names.API_VERSION,
            "kind": names.KIND,
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": spec,
        }
        self.cluster.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))

    def status(self, name: str) -> FinetuneStatus:
        found = self.cluster.client.get(f"{self.path}/{name}")
        assert found is not None, f"{name} is gone"
        return FinetuneStatus.model_validate(found["status"])

    def await_end(self, name: str, generation: int = 1) -> FinetuneStatus:
        """The status once it is Ready or Stalled for that generation."""

        def probe() -> FinetuneStatus | None:
            status = self.status(name)
            said = {c.type: c.status for c in status.conditions}
            over = said.get("Stalled") == "True" or said.get("Ready") == "True"
            return status if over and status.observed_generation == generation else None

        return eventually(probe, f"{name} ends", seconds=RUN_SECONDS)


@pytest.fixture
def world(cluster: Cluster, namespace: str, text_model: Path, operator: Operator) -> World:
    world = World(cluster, namespace)
    world.fill(text_model)
    return world


def a_spec() -> dict[str, Any]:
    columns = {"query": "query", "positive": "positive"}
    return {
        "model": {"uri": "pvc://models/tiny", "prompts": {"query": "ask ", "document": ""}},
        "data": {
            "train": [{"name": "pairs", "uri": "pvc://data/train.jsonl", "columns": columns}],
            "eval": [{"name": "test", "uri": "pvc://data/test.jsonl", "columns": columns}],
        },
        "loss": {"matryoshkaDims": [64, 16]},
        "training": {"epochs": "8", "batchSize": 16, "learningRate": "5e-3", "autocast": "None"},
        "evaluation": {
            "evaluators": [{"name": "words", "data": "test"}],
            "primary": {"evaluator": "words", "metric": "ndcg@10"},
            "gates": [{"evaluator": "words", "metric": "ndcg@10", "minimum": "0.5", "minimumGain": "0"}],
        },
        "output": {"uri": "pvc://published/words"},
        "runtime": {"gpusPerNode": 0, "resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "1"}}},
    }


def condition(status: FinetuneStatus, type_: str) -> tuple[str, str]:
    found = next(c for c in status.conditions if c.type == type_)
    return found.status, found.reason


def test_a_finetune_is_measured_gated_and_published_and_a_worse_one_leaves_it_alone(
    world: World, operator: Operator
) -> None:
    world.apply("words", a_spec())
    status = world.await_end("words")

    assert condition(status, "Ready") == ("True", "Published"), status.failure
    assert condition(status, "GatePassed")[0] == "True"
    assert status.evaluation is not None
    assert status.artifact is not None
    primary = status.evaluation.primary
    assert float(primary.tuned) >= 0.5
    assert float(primary.gain_low or 0) > 0
    assert primary.dimension == 64
    assert {"words_cosine_ndcg@10_dim16"} <= {m.name for m in status.evaluation.metrics}
    series = f'namespace="{world.namespace}",embeddingfinetune="words",evaluator="words",metric="ndcg@10"'
    assert operator.metric(f"embedding_finetune_evaluation_gain{{{series}}}") == float(primary.gain or 0)
    columns = world.cluster.kubectl("get", "eft", "-n", world.namespace)
    assert primary.tuned in columns

    published = world.claims / "published/words"
    latest = json.loads((published / "latest.json").read_text())
    version = published / Path(latest["uri"]).name
    assert latest["uri"] == status.artifact.uri
    _check_model(version)
    before = {path: path.stat().st_mtime_ns for path in published.rglob("*")}

    spec = a_spec()
    spec["training"]["learningRate"] = "1e-7"
    world.apply("words", spec)
    status = world.await_end("words", generation=2)

    assert condition(status, "Stalled") == ("True", "GateNotPassed")
    assert condition(status, "GatePassed")[0] == "False"
    assert status.phase == "GateFailed"
    assert status.run is not None
    assert status.run.number == 2
    assert status.artifact is not None
    assert status.artifact.run == 1
    assert status.evaluation is not None
    assert status.evaluation.gate_data is not None
    assert status.evaluation.gate_data.decisions == 2
    assert {path: path.stat().st_mtime_ns for path in published.rglob("*")} == before


def _check_model(version: Path) -> None:
    """Complete, readable by everybody, and free of training texts."""
    for path in version.rglob("*"):
        assert path.stat().st_mode & stat.S_IROTH, f"{path} cannot be read by others"
        if path.suffix in {".md", ".json"} and path.name not in {"tokenizer.json", "vocab.txt"}:
            assert "zu03 zu04" not in path.read_text(), f"{path} holds a training text"
    assert {"modules.json", "README.md", "report.json", "model.safetensors"} <= {
        path.name for path in version.rglob("*")
    }


Breakage = Callable[[World, dict[str, Any]], None]


def _wrong_column(_world: World, spec: dict[str, Any]) -> None:
    spec["data"]["train"][0]["columns"] = {"query": "question", "positive": "positive"}


def _missing_image(world: World, spec: dict[str, Any]) -> None:
    write_page(world.claims / "data/pages/0.png", "page")
    rows = [{"query": f"page {n}", "positive": f"{n}.png"} for n in range(40)]
    write_jsonl(world.claims / "data/pages/rows.jsonl", rows)
    spec["data"]["train"][0]["uri"] = "pvc://data/pages/rows.jsonl"


def _empty_split(world: World, spec: dict[str, Any]) -> None:
    write_jsonl(world.claims / "data/none.jsonl", [])
    spec["data"]["train"][0]["uri"] = "pvc://data/none.jsonl"


def _absent_evaluation(_world: World, spec: dict[str, Any]) -> None:
    spec["data"]["eval"][0]["uri"] = "pvc://data/absent.jsonl"


def _no_weights(world: World, spec: dict[str, Any]) -> None:
    shutil.copytree(
        world.claims / "models/tiny",
        world.claims / "models/bare",
        ignore=lambda _d, _n: ["model.safetensors"],
    )
    spec["model"]["uri"] = "pvc://models/bare"


def _half_of_the_weights(world: World, spec: dict[str, Any]) -> None:
    from safetensors.torch import load_file, save_file

    folder = world.claims / "models/half"
    shutil.copytree(world.claims / "models/tiny", folder)
    [file] = folder.rglob("model.safetensors")
    kept = {name: tensor for name, tensor in load_file(file).items() if "layer.1." not in name}
    save_file(kept, file, metadata={"format": "pt"})
    spec["model"]["uri"] = "pvc://models/half"


BREAKAGES: dict[str, tuple[Breakage, str]] = {
    "a-column": (_wrong_column, "question"),
    "an-image": (_missing_image, "1.png"),
    "a-split": (_empty_split, "none.jsonl"),
    "evaluation-data": (_absent_evaluation, "absent.jsonl"),
    "weights": (_no_weights, "weights"),
    "some-weights": (_half_of_the_weights, "layer.1."),
}


def test_what_is_missing_is_named_in_the_status_after_one_attempt(world: World) -> None:
    for name, (break_it, _) in BREAKAGES.items():
        spec = a_spec()
        spec["output"]["uri"] += f"/{name}"
        break_it(world, spec)
        world.apply(name, spec)

    for name, (_, named) in BREAKAGES.items():
        status = world.await_end(name)
        assert status.failure is not None, f"{name}: {status}"
        assert named in status.failure.message, f"{name}: {status.failure}"
        assert status.failure.hint, f"{name}: a failure says what to do"
        assert not status.failure.retryable, name
        assert status.run is not None
        assert status.run.attempt == 1, f"{name}: what is the user's to mend is not tried again"
        assert condition(status, "Stalled") == ("True", status.failure.reason)
        assert not (world.claims / "published/words" / name / "latest.json").exists()
