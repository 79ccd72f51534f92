"""Whole runs whose evaluators are no search: from tables on a volume to the numbers of a Report."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetune_api.results import Measured
from finetune_trainer.places import Places
from tests.trainer.builders import places_in, write_jsonl
from tests.trainer.test_pipeline import a_run, ended

RANKED = {"query": "q", "positive": "p", "negatives": ["n"]}


def rows(count: int, start: int = 0) -> list[dict[str, Any]]:
    random = np.random.default_rng(start)
    return [
        {
            "q": f"question number {n}", "p": f"answer for {n}", "n": f"other {n + 1}",
            "docs": [f"doc {n}", f"doc {n + 7}"], "scores": random.uniform(size=2).tolist(), "class": n % 3,
        }
        for n in range(start, start + count)
    ]  # fmt: skip


@pytest.fixture
def places(tmp_path: Path, text_model: Path) -> Places:
    places = places_in(tmp_path)
    shutil.copytree(text_model, places.volume("models") / "base")
    write_jsonl(places.volume("data") / "train.jsonl", rows(40))
    write_jsonl(places.volume("data") / "dev.jsonl", rows(30, 100))
    return places


def make_raw(places: Places) -> None:
    """The base model without its pooling: an encoder that others can be built upon."""
    base = places.volume("models") / "base"
    shutil.rmtree(base / "1_Pooling")
    (base / "modules.json").unlink()


def measured(places: Places, changes: Mapping[str, Any]) -> Measured:
    spec = {**a_run().spec.to_dict(), **changes}
    file = a_run()
    ending, _ = ended(places, file.model_copy(update={"spec": type(file.spec).model_validate(spec)}))
    assert ending.report.measured is not None, ending.report.failure
    return ending.report.measured


def tables(train: Mapping[str, Any], dev: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "train": [{"name": "train", "uri": "pvc://data/train.jsonl", "columns": train}],
        "eval": [{"name": "dev", "uri": "pvc://data/dev.jsonl", "columns": dev}],
    }


@pytest.mark.training
def test_a_multi_vector_model_is_held_against_a_teachers_scores(places: Places) -> None:
    make_raw(places)
    evaluators = [{"name": "teacher", "type": "Distillation", "data": "dev"}]
    found = measured(
        places,
        {
            "model": {"type": "MultiVector", "uri": "pvc://models/base"},
            "data": tables(RANKED, {"inputs": ["q", "docs"], "label": "scores"}),
            "evaluation": {"evaluators": evaluators, "primary": {"evaluator": "teacher"}},
        },
    )
    assert (found.primary.name, found.primary.rows, found.primary.compared_to) == (
        "teacher_maxsim_spearman",
        30,
        "Base",
    )
    assert [m.name for m in found.metrics][1] == "teacher_maxsim_negative_kl_divergence"


@pytest.mark.training
def test_a_reranker_of_three_classes_has_the_f1_of_classes(places: Places) -> None:
    make_raw(places)
    pairs = {"inputs": ["q", "p"], "label": "class"}
    evaluators = [{"name": "classes", "type": "Classification", "data": "dev"}]
    found = measured(
        places,
        {
            "model": {
                "type": "Reranker", "uri": "pvc://models/base", "head": {"type": "Classifier", "labels": 3},
            },
            "data": tables(pairs, pairs),
            "loss": {"name": "CrossEntropyLoss"},
            "evaluation": {
                "evaluators": evaluators, "primary": {"evaluator": "classes", "metric": "f1_macro"},
            },
        },
    )  # fmt: skip
    assert found.primary.name == "classes_f1_macro"
    assert (found.primary.compared_to, found.primary.baseline) == ("None", None)


@pytest.mark.training
def test_nano_beir_is_measured_and_gated_by_data_set(places: Places) -> None:
    nano = places.volume("data") / "nano"
    for name, start in (("NanoNQ", 200), ("NanoFEVER", 300)):
        of_set = list(enumerate(rows(15, start)))
        write_jsonl(nano / f"queries/{name}.jsonl", [{"_id": f"{n}", "text": r["q"]} for n, r in of_set])
        write_jsonl(nano / f"corpus/{name}.jsonl", [{"_id": f"{n}", "text": r["p"]} for n, r in of_set])
        write_jsonl(
            nano / f"qrels/{name}.jsonl", [{"query-id": f"{n}", "corpus-id": f"{n}"} for n, _ in of_set]
        )
    gate = {"evaluator": "nano", "group": "NanoNQ", "maximumDrop": "1"}
    found = measured(
        places,
        {
            "data": {**tables(RANKED, RANKED), "eval": [{"name": "nano", "uri": "pvc://data/nano"}]},
            "evaluation": {
                "evaluators": [{"name": "nano", "type": "NanoBEIR", "data": "nano"}],
                "primary": {"evaluator": "nano"},
                "gates": [gate],
            },
        },
    )
    values = {m.name: float(m.tuned) for m in found.metrics}
    both = [values[f"nano_cosine_ndcg@10[{name}]"] for name in ("NanoNQ", "NanoFEVER")]
    assert values["nano_cosine_ndcg@10"] == pytest.approx(sum(both) / 2, abs=1e-4)
    assert (found.primary.queries, found.gates[0].group, found.gates[0].passed) == (30, "NanoNQ", True)
