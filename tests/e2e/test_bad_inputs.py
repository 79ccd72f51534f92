"""Whatever spec, data or model have wrong: the exit code, the reason, what was found, and the next step.

One row a mistake; the run ends before anything is trained and nothing is published.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from demo.tiny_models import build_text_model, build_text_reranker, build_vision_language_embedder
from finetune_api.exit_codes import ExitCode
from finetune_trainer.__main__ import app
from tests.one_thread import one_thread  # noqa: F401 - a fixture

Spec = dict[str, Any]
Break = Callable[[Spec, Path], object]
ROWS = [{"q": f"invoice number {n}", "p": f"invoice {n} of march"} for n in range(40)]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    build_text_model(folder / "text")
    build_text_reranker(folder / "reranker")
    build_vision_language_embedder(folder / "vision", page_size=64)
    return folder


@pytest.fixture
def home(tmp_path: Path, models: Path) -> Path:
    """Claims `models`, `data` and `published`; a person's own to break."""
    shutil.copytree(models, tmp_path / "models")
    (tmp_path / "published").mkdir()
    write_rows(tmp_path / "data/train.jsonl", ROWS[:30])
    write_rows(tmp_path / "data/test.jsonl", ROWS[30:])
    return tmp_path


def write_rows(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def a_spec() -> Spec:
    columns = {"query": "q", "positive": "p"}
    return {
        "model": {"uri": "pvc://models/text"},
        "data": {
            "train": [{"name": "train", "uri": "pvc://data/train.jsonl", "columns": dict(columns)}],
            "eval": [{"name": "test", "uri": "pvc://data/test.jsonl", "columns": dict(columns)}],
        },
        "training": {"batchSize": 8, "autocast": "None", "args": {"max_steps": 1}},
        "evaluation": {"evaluators": [{"name": "test", "data": "test"}], "primary": {"evaluator": "test"}},
        "output": {"uri": "pvc://published/model"},
    }


def setting(path: str, value: Any) -> Break:
    """Sets one field of the spec."""

    def change(spec: Spec, _home: Path) -> None:
        *parents, last = path.split(".")
        part: Any = spec
        for parent in parents:
            part = part[int(parent)] if isinstance(part, list) else part.setdefault(parent, {})
        part[last] = value

    return change


def with_rows(rows: list[dict[str, Any]], name: str = "train") -> Break:
    return lambda _spec, home: write_rows(home / f"data/{name}.jsonl", rows)


def both(*breaks: Break) -> Break:
    return lambda spec, home: [change(spec, home) for change in breaks]


def labelled(labels: list[Any], loss: str = "CosineSimilarityLoss") -> Break:
    rows = [{**row, "s": labels[n % len(labels)]} for n, row in enumerate(ROWS[:30])]
    return both(
        with_rows(rows),
        setting("data.train.0.columns", {"inputs": ["q", "p"], "label": "s"}),
        setting("loss", {"name": loss}),
    )


def with_pictures(spec: Spec, home: Path) -> None:
    """The train set becomes a table that names pictures, for the model that reads them."""
    spec["model"]["uri"] = "pvc://models/vision"
    for n in range(30):
        path = home / f"data/{n}.png"
        Image.new("RGB", (64, 64), (n, 2 * n, 255)).save(path)
    write_rows(home / "data/train.jsonl", [{"q": f"picture {n}", "p": f"{n}.png"} for n in range(30)])


def pictures(change: Callable[[Path], object]) -> Break:
    return both(with_pictures, lambda _spec, home: change(home / "data"))


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def rename_in_table(folder: Path, name: str) -> None:
    table = folder / "train.jsonl"
    (folder / "3.png").rename(folder / name)
    table.write_text(table.read_text().replace('"3.png"', f'"{name}"'))


def of_another(_spec: Spec, home: Path) -> None:
    owner = {"namespace": "team", "name": "other", "uri": "u", "digest": "d", "uid": "x", "run": 1}
    (home / "published/model").mkdir()
    (home / "published/model/latest.json").write_text(json.dumps(owner))


def break_template(spec: Spec, home: Path) -> None:
    spec["model"]["uri"] = "pvc://models/vision"
    with_pictures(spec, home)
    (path,) = (home / "models/vision").rglob("chat_template.jinja")
    path.write_text("{% for message in messages %}{{ message.content }")


ROUTES = [
    {"route": "query", "task": "query", "uri": "pvc://models/text"},
    {"route": "pictures", "task": "query", "modality": "image", "uri": "pvc://models/text"},
]
SPEC, DATA, MODEL = ExitCode.BAD_SPEC, ExitCode.BAD_DATA, ExitCode.BAD_MODEL

MISTAKES: dict[str, tuple[Break, ExitCode, str, str]] = {
    "a column that is not there": (
        setting("data.train.0.columns.query", "question"),
        DATA,
        "MissingColumn",
        "has no column 'question'; found p, q",
    ),
    "a label that is a word": (labelled(["good", "bad"]), DATA, "BadLabel", "found good"),
    "a label beyond its range": (
        labelled([0.5, 7.0], "ContrastiveLoss"),
        DATA,
        "LossDoesNotFit",
        "a label (0 or 1)",
    ),
    "no rows": (with_rows([]), DATA, "EmptyData", "has no rows"),
    "one row": (with_rows(ROWS[:1]), DATA, "TooFewRows", "1 row"),
    "one row again and again": (with_rows(ROWS[:1] * 30), DATA, "DuplicateRows", ""),
    "an empty cell": (
        with_rows([*ROWS[:20], {"q": "x", "p": " "}]),
        DATA,
        "EmptyCell",
        "the first in row 20",
    ),
    "a query that is trained on and measured": (
        with_rows(ROWS[5:35]),
        DATA,
        "Overlap",
        "5 of 30 rows of train set 'train'",
    ),
    "a picture that is cut off": (
        pictures(lambda data: cut_in_half(data / "3.png")),
        DATA,
        "UnreadableImage",
        "row 3",
    ),
    "a text file called a picture": (
        pictures(lambda data: (data / "3.png").write_text("no picture")),
        DATA,
        "UnreadableImage",
        "row 3",
    ),
    "a PNG called a JPEG": (
        pictures(lambda data: rename_in_table(data, "3.jpg")),
        DATA,
        "MislabelledMedia",
        "3.jpg",
    ),
    "an ending that nothing reads": (
        pictures(lambda data: rename_in_table(data, "3.heic")),
        DATA,
        "UnsupportedMedia",
        ".heic",
    ),
    "a picture that is missing": (
        pictures(lambda data: (data / "3.png").unlink()),
        DATA,
        "MissingFile",
        "'3.png'",
    ),
    "pictures for a model of texts": (
        both(with_pictures, setting("model.uri", "pvc://models/text")),
        DATA,
        "UnsupportedModality",
        "holds image",
    ),
    "inputs cut off in the middle of a picture": (
        both(with_pictures, setting("model.maxSeqLength", 5)),
        DATA,
        "MediaCutOff",
        "do not fit",
    ),
    "a metric that does not exist": (
        setting("evaluation.primary.metric", "ndgc@10"),
        SPEC,
        "InvalidSpec",
        "did you mean ndcg@10?",
    ),
    "a prompt for a column instead of a role": (
        setting("model.prompts", {"q": "find: "}),
        SPEC,
        "InvalidSpec",
        "model.prompts.q: is no field here",
    ),
    "a Router that takes no documents": (
        both(setting("model", {"encoders": ROUTES})),
        SPEC,
        "InvalidSpec",
        "must take queries and documents",
    ),
    "a loss of another kind of model": (
        setting("loss", {"name": "LambdaLoss"}),
        SPEC,
        "InvalidSpec",
        "must be losses for `model.type`",
    ),
    "a loss that wants a label": (
        setting("loss", {"name": "CoSENTLoss"}),
        SPEC,
        "LossDoesNotFit",
        "no label",
    ),
    "a loss that does not exist": (setting("loss", {"name": "NoSuchLoss"}), SPEC, "InvalidSpec", "loss.name"),
    "an argument of a loss that is misspelt": (
        setting("loss", {"name": "MultipleNegativesRankingLoss", "args": {"scal": 20}}),
        SPEC,
        "UnknownArgument",
        "'scale'",
    ),
    "an argument of the training that is misspelt": (
        setting("training.args", {"weight_decy": 0.1}),
        SPEC,
        "UnknownArgument",
        "'weight_decay'",
    ),
    "more dimensions than the model has": (
        setting("loss", {"matryoshkaDims": [128, 32]}),
        SPEC,
        "DimensionTooLarge",
        "64 dimensions, found 128",
    ),
    "a reranker called an embedding model": (
        setting("model.uri", "pvc://models/reranker"),
        MODEL,
        "WrongType",
        "set `model.type` to Reranker",
    ),
    "weights that are missing": (
        lambda _spec, home: (home / "models/text/model.safetensors").unlink(),
        MODEL,
        "MissingWeights",
        "safetensors",
    ),
    "weights that are a pickle": (
        lambda _spec, home: (home / "models/text/model.safetensors").rename(
            home / "models/text/pytorch_model.bin"
        ),
        MODEL,
        "PickleWeights",
        "pytorch_model.bin",
    ),
    "weights that are cut off": (
        lambda _spec, home: cut_in_half(home / "models/text/model.safetensors"),
        MODEL,
        "UnreadableModel",
        "",
    ),
    "a chat template that is cut off": (break_template, MODEL, "InvalidTemplate", "unexpected"),
    "a folder that is not there": (
        setting("model.uri", "pvc://models/none"),
        SPEC,
        "PathMissing",
        "does not exist",
    ),
    "a Secret that is not there": (
        setting("model", {"uri": f"hf://owner/model@{'0' * 40}", "secretRef": {"name": "hub"}}),
        ExitCode.NO_ACCESS,
        "SecretMissing",
        "'hub'",
    ),
    "a target of another finetune": (of_another, ExitCode.TARGET_IN_USE, "TargetInUse", "team/other"),
    "a spec of a newer version": (
        setting("curriculum", {}),
        SPEC,
        "InvalidSpec",
        "curriculum: is no field here",
    ),
    "a number where a text belongs": (
        setting("training.learningRate", 0.01),
        SPEC,
        "InvalidSpec",
        "must be a text, found 0.01; put it into quotes",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda name: name.replace(" ", "-"))
def test_a_mistake_is_told_with_its_next_step_before_anything_is_trained(home: Path, mistake: str) -> None:
    break_it, code, reason, found = MISTAKES[mistake]
    spec = a_spec()
    break_it(spec, home)
    file = home / "spec.yaml"
    file.write_text(json.dumps(spec))
    done = CliRunner().invoke(app, ["run", str(file), "--volumes", str(home), "--work", str(home / "work"),
                                    "--secrets", str(home / "secrets")])  # fmt: skip
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    output = " ".join(done.output.split())
    assert done.exit_code == code, output
    assert reason in output
    assert found in output
    assert "Next: " in output
    assert not list((home / "published").rglob("*.safetensors"))
