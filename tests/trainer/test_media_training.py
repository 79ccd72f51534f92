"""Every modality through training and evaluation: what the data stage decodes is what the library reads."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finetune_api.spec import FinetuneSpec
from finetune_trainer.data.fitting import fit_to_model
from finetune_trainer.data.loading import load_evaluation_data, load_training_data
from finetune_trainer.evaluation import evaluate
from finetune_trainer.models import load_model
from finetune_trainer.training.train import train
from tests.trainer.builders import places_in, write_jsonl, write_page
from tests.trainer.media_files import write_video, write_wav

pytestmark = pytest.mark.training

ROWS = 8
MIX = [{"name": "mix", "text": "title", "image": "image"}, {"name": "all", "text": "title", "video": "video"}]
LABELLED = {"inputs": ["q", "mix"], "label": "s"}


def write(folder: Path, name: str, start: int) -> None:
    rows = []
    for i in range(start, start + ROWS):
        write_wav(folder / f"{i}.wav", 200.0 + 40 * i, rate=8_000 if i % 2 else 16_000)
        write_video(folder / f"{i}.mp4", shade=20 * (i % 8), frames=8)
        write_page(folder / f"{i}.png", str(i))
        media = {"audio": f"{i}.wav", "video": f"{i}.mp4", "image": f"{i}.png"}
        rows.append({"q": f"number {i}", "title": f"title {i}", "s": i % 2, **media})
    write_jsonl(folder / name, rows)


def a_spec(folder: Path, model: dict[str, Any], columns: dict[str, Any], kind: str) -> FinetuneSpec:
    write(folder, "train.jsonl", 0)
    write(folder, "dev.jsonl", 20)
    table = {"columns": columns, "combine": MIX}
    return FinetuneSpec.model_validate(
        {
            "model": {"uri": "pvc://models/base", **model},
            "data": {
                "train": [{"name": "train", "uri": "pvc://data/train.jsonl", **table}],
                "eval": [{"name": "dev", "uri": "pvc://data/dev.jsonl", **table}],
            },
            "training": {
                "batchSize": 4, "autocast": "None", "learningRate": "1e-3",
                "args": {"dataloader_num_workers": 1},
            },
            "evaluation": {
                "evaluators": [{"name": "dev", "type": kind, "data": "dev"}],
                "primary": {"evaluator": "dev"},
            },
        }
    )  # fmt: skip


ENCODERS = {
    "audio": ("clap", "audio", {}),
    "images": ("clip", "image", {}),
    "videos": ("vision embedder", "video", {}),
    "texts with an image": ("vision embedder", "mix", {}),
    "texts with a video": ("vision embedder", "all", {}),
    "images for many vectors": ("vision", "image", {"type": "MultiVector"}),
}


@pytest.mark.parametrize(("name", "column", "model"), ENCODERS.values(), ids=ENCODERS)
def test_encoders_are_trained_and_measured_on(
    tiny: Callable[[str], Path], tmp_path: Path, name: str, column: str, model: dict[str, Any]
) -> None:
    places = places_in(tmp_path)
    columns = {"query": "q", "positive": column}
    spec = a_spec(places.volume("data"), model, columns, "InformationRetrieval")
    base = load_model(tiny(name), spec.model, seed=1)
    data = fit_to_model(base, load_training_data(spec, places), load_evaluation_data(spec, places))
    result = train(base, data.training, spec, work=places.work, on_progress=lambda _: None)
    assert result.steps == 2
    assert all(np.isfinite(loss) for _, loss in result.loss_curve)
    (evaluator,) = spec.evaluation.evaluators
    measured = evaluate(
        result.model, data.evaluation["dev"], evaluator, metrics=("ndcg@10",),
        dimensions=(None,) if model else (64,), similarity=spec.model.similarity_name, autocast="None",
    )  # fmt: skip
    assert measured is not None


def test_a_reranker_is_trained_and_measured_on_texts_with_images(
    tiny: Callable[[str], Path], tmp_path: Path
) -> None:
    places = places_in(tmp_path)
    spec = a_spec(places.volume("data"), {"type": "Reranker"}, LABELLED, "Classification")
    base = load_model(tiny("vision reranker"), spec.model, seed=1)
    data = fit_to_model(base, load_training_data(spec, places), load_evaluation_data(spec, places))
    result = train(base, data.training, spec, work=places.work, on_progress=lambda _: None)
    assert all(np.isfinite(loss) for _, loss in result.loss_curve)
    (evaluator,) = spec.evaluation.evaluators
    measured = evaluate(
        result.model, data.evaluation["dev"], evaluator,
        metrics=(), dimensions=(None,), similarity="", autocast="None",
    )  # fmt: skip
    assert measured is not None
