"""Small specs, tables and pages for the tests of the trainer."""

import csv
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from finetune_api.spec import FinetuneSpec
from finetune_trainer.data.inputs import TrainingSet
from finetune_trainer.data.loading import load_training_data
from finetune_trainer.places import Places

COLUMNS = {"query": "q", "positive": "p"}
Row = Mapping[str, Any]


def places_in(folder: Path) -> Places:
    """Places below a folder; the claims `data` and `models` exist."""
    volumes = folder / "volumes"
    for claim in ("data", "models"):
        (volumes / claim).mkdir(parents=True, exist_ok=True)
    return Places(volumes=volumes, secrets=folder / "secrets", work=folder / "work")


def a_spec(
    *,
    train: Mapping[str, Any] | None = None,
    dev: Mapping[str, Any] | None = None,
    model: Mapping[str, Any] | None = None,
    loss: Mapping[str, Any] | None = None,
    training: Mapping[str, Any] | None = None,
    measure: str = "InformationRetrieval",
) -> FinetuneSpec:
    """A spec over train.jsonl and dev.jsonl of the claim `data`; the parts given replace or add fields.

    measure: type of the evaluator.
    """
    train_set = {"name": "train", "uri": "pvc://data/train.jsonl", "columns": COLUMNS}
    eval_set = {"name": "dev", "uri": "pvc://data/dev.jsonl", "columns": COLUMNS}
    return FinetuneSpec.model_validate(
        {
            "model": {"uri": "pvc://models/base", **(model or {})},
            "data": {"train": [{**train_set, **(train or {})}], "eval": [dev or eval_set]},
            "loss": dict(loss or {}),
            "training": {"batchSize": 8, "autocast": "None", "learningRate": "1e-3", **(training or {})},
            "evaluation": {
                "evaluators": [{"name": "dev", "type": measure, "data": "dev"}],
                "primary": {"evaluator": "dev"},
            },
        }
    )


def read_train_set(places: Places, **train: Any) -> TrainingSet:
    """The only train set of `a_spec`, as the data stage reads it."""
    (one,) = load_training_data(a_spec(train=train), places).sets
    return one


def fill_for_a_run(places: Places, model: Path) -> None:
    """What `a_spec` names: the model, 40 pairs to train on, 20 to measure on."""
    shutil.copytree(model, places.volume("models") / "base")
    write_jsonl(places.volume("data") / "train.jsonl", pairs(40))
    write_jsonl(places.volume("data") / "dev.jsonl", pairs(20, start=100))


def write_jsonl(path: Path, rows: Sequence[Row]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_csv(path: Path, rows: Sequence[Row]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_parquet(path: Path, columns: Mapping[str, Sequence[Any]]) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({name: list(cells) for name, cells in columns.items()}), path)
    return path


def pairs(count: int, *, start: int = 0) -> list[dict[str, str]]:
    """Rows {q, p, n}; query and positive share a number, the negative has another."""
    return [
        {"q": f"invoice number {i}", "p": f"invoice {i} of march", "n": f"invoice {i + 10_000} of april"}
        for i in range(start, start + count)
    ]


def write_page(path: Path, text: str, *, size: tuple[int, int] = (64, 64)) -> Path:
    """A picture that differs with its text."""
    image = Image.new("RGB", size, "white")
    ImageDraw.Draw(image).text((4, 4), text, fill="black")
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path
