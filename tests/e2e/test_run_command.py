"""`finetune-trainer run` as a person uses it: a tiny model and tables of this machine, no cluster."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
from typer.testing import CliRunner

from demo.pages import plan_pages
from demo.tiny_models import build_text_model
from finetune_api.exit_codes import ExitCode
from finetune_trainer.__main__ import app
from tests.cluster.binaries import require_program
from tests.one_thread import one_thread  # noqa: F401 - a fixture

PAGES = plan_pages(train=200, test=60)


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The claim `data`: a model and two tables; nobody writes to it."""
    folder = tmp_path_factory.mktemp("data")
    build_text_model(folder / "model")
    for name, pages in (("train", PAGES.train), ("test", PAGES.test)):
        # Four columns of which one is half the answer: the untrained model must have something to learn.
        rows = [{"q": p.query, "p": f"{p.type} {p.item[:3]} {p.vendor[:2]} {p.month[:3]}"} for p in pages]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "empty.jsonl").write_text("")
    return folder


@pytest.fixture
def home(tmp_path: Path, data: Path) -> Path:
    """A folder with the claims `data` and `models` in it."""
    (tmp_path / "data").symlink_to(data)
    (tmp_path / "models").mkdir()
    return tmp_path


def a_spec(**changes: Any) -> dict[str, Any]:
    columns = {"query": "q", "positive": "p"}
    spec: dict[str, Any] = {
        "model": {"uri": "pvc://data/model", "truncateDim": 32},
        "data": {
            "train": [{"name": "train", "uri": "pvc://data/train.jsonl", "columns": columns}],
            "eval": [{"name": "test", "uri": "pvc://data/test.jsonl", "columns": columns}],
        },
        "loss": {"matryoshkaDims": [64, 32, 16]},
        "training": {
            "batchSize": 20, "learningRate": "2e-3", "autocast": "None", "args": {"max_steps": 20},
        },
        "evaluation": {
            "evaluators": [{"name": "forms", "data": "test"}],
            "primary": {"evaluator": "forms", "metric": "ndcg@10"},
            "gates": [{"evaluator": "forms", "minimum": "0.1"}],
        },
        "output": {"uri": "pvc://models/forms"},
    }  # fmt: skip
    return {**spec, **changes}


def write_spec(home: Path, spec: Any, name: str = "forms.yaml") -> Path:
    path = home / name
    path.write_text(spec if isinstance(spec, str) else json.dumps(spec))
    return path


def run_here(home: Path, spec: Any, *options: str) -> tuple[int, str]:
    """Exit code and everything printed, in this process: the libraries are imported once for all tests."""
    path = write_spec(home, spec)
    arguments = ["run", str(path), "--volumes", str(home), "--work", str(home / "work"), *options]
    result = CliRunner().invoke(app, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, " ".join(result.output.split())


def command(home: Path, *options: str) -> list[str]:
    program = Path(sys.executable).with_name("finetune-trainer")
    return [str(program), "run", str(home / "forms.yaml"), "--work", str(home / "work"), *options]


ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def latest(home: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((home / "models" / "forms" / "latest.json").read_text())
    return content


def version(home: Path) -> Path:
    return home / "models" / "forms" / str(latest(home)["uri"]).rpartition("/")[2]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


@pytest.mark.training
def test_a_run_publishes_a_model_that_has_the_reported_metric(home: Path) -> None:
    manifest = {
        "apiVersion": "embeddings.dev/v1alpha1",
        "kind": "EmbeddingFinetune",
        "metadata": {"name": "forms", "namespace": "team"},
        "spec": a_spec(),
    }
    write_spec(home, manifest)

    done = subprocess.run(
        command(home), cwd=home, env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=False
    )

    assert done.returncode == ExitCode.DONE, done.stderr
    assert "Training: Training" in done.stderr
    assert re.search(r"ndcg@10 .* 32 .* 0\.\d{4} .* to ", done.stdout)
    assert "gate forms ndcg@10: passed" in done.stdout
    assert f"model: {version(home)}" in done.stdout
    full = json.loads((version(home) / "report.json").read_text())
    primary = full["report"]["measured"]["primary"]
    assert primary["dimension"] == 32
    assert float(primary["gain"]) > 0
    assert set(full["evaluators"]["forms"]["dimensions"]) == {"64", "32", "16"}
    assert float(primary["tuned"]) == pytest.approx(ndcg_as_users_see_it(version(home)), abs=1e-4)
    assert not any(page.query in text.decode(errors="ignore") for text in contents(version(home)).values()
                   for page in PAGES.train[:50])  # fmt: skip
    assert list((home / "work").glob("run-*")) == []

    before = contents(home / "models")
    again = subprocess.run(
        command(home), cwd=home, env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=False
    )
    assert again.returncode == ExitCode.DONE, again.stderr
    assert "published already" in again.stdout
    assert str(version(home)) in again.stdout
    assert contents(home / "models") == before


def ndcg_as_users_see_it(folder: Path) -> float:
    """The library's own evaluator over the model as anybody loads it, at the dimension saved in it."""
    model = SentenceTransformer(str(folder), device="cpu")
    rows = [json.loads(line) for line in (folder.parents[2] / "data" / "test.jsonl").read_text().splitlines()]
    evaluator = InformationRetrievalEvaluator(
        {f"q{n}": row["q"] for n, row in enumerate(rows)},
        {row["p"]: row["p"] for row in rows},
        {f"q{n}": {row["p"]} for n, row in enumerate(rows)},
        write_csv=False,
    )
    assert model.encode("x").shape == (32,)
    return float(evaluator(model)["cosine_ndcg@10"])


@pytest.mark.training
def test_a_gate_that_is_not_passed_publishes_nothing_and_leaves_the_earlier_version(home: Path) -> None:
    spec = a_spec()
    spec["training"]["args"]["max_steps"] = 2
    spec["evaluation"]["gates"] = []
    assert run_here(home, spec)[0] == ExitCode.DONE
    before = contents(home / "models")

    spec["evaluation"]["gates"] = [
        {"evaluator": "forms", "metric": "ndcg@10", "minimum": "1", "minimumGain": "0.9"}
    ]
    code, output = run_here(home, spec)

    assert code == ExitCode.GATE_NOT_PASSED
    assert "gate forms ndcg@10: not passed (found 0." in output
    assert "wanted at least 1; lower end of the gain's 95% interval" in output
    assert "The model was not published." in output
    assert contents(home / "models") == before
    full = json.loads((home / "work" / "report.json").read_text())
    assert full["report"]["outcome"] == "GateFailed"
    assert "artifact" not in full["report"]


@pytest.mark.training
def test_hard_negatives_are_found_before_training_and_kept_for_the_next_run(home: Path) -> None:
    spec = a_spec()
    del spec["output"]
    spec["training"]["args"]["max_steps"] = 2
    spec["training"]["batchSize"] = 4
    spec["data"]["hardNegatives"] = {"perQuery": 2}
    code, output = run_here(home, spec)
    assert code == ExitCode.DONE, output
    assert "2 hard negatives for each of 200 rows of train set 'train' were found among" in output
    assert (home / "work" / "report.html").is_file()
    (kept,) = (home / "work" / "cache" / "negatives").iterdir()
    before = kept.stat().st_mtime_ns
    spec["training"]["learningRate"] = "1e-3"
    assert run_here(home, spec)[0] == ExitCode.DONE
    assert [f.stat().st_mtime_ns for f in (home / "work" / "cache" / "negatives").iterdir()] == [before]

    spec["loss"] = {"name": "TripletLoss"}
    code, output = run_here(home, spec)
    assert code == ExitCode.BAD_SPEC
    assert "TripletLoss, which takes 3 input columns and no label; train set 'train' has 4" in output


@pytest.mark.training
def test_without_output_and_baseline_a_run_measures_the_tuned_model_alone(home: Path) -> None:
    spec = a_spec()
    del spec["output"]
    spec["training"]["args"]["max_steps"] = 1
    spec["evaluation"]["compareTo"] = "None"
    code, output = run_here(home, spec)
    assert code == ExitCode.DONE, output
    primary = json.loads((home / "work" / "report.json").read_text())["report"]["measured"]["primary"]
    assert primary["comparedTo"] == "None"
    assert "baseline" not in primary
    assert list((home / "models").iterdir()) == []


@pytest.mark.training
def test_the_best_state_is_selected_on_data_that_no_gate_reads(home: Path) -> None:
    spec = a_spec()
    columns = {"query": "q", "positive": "p"}
    spec["data"]["eval"].append({"name": "dev", "uri": "pvc://data/test.jsonl", "columns": columns})
    spec["evaluation"]["evaluators"].append({"name": "dev", "data": "dev"})
    spec["training"] |= {"args": {"max_steps": 4}, "selection": {"evaluator": "dev", "every": "0.5"}}
    code, output = run_here(home, spec)
    assert code == ExitCode.DONE, output
    training = json.loads((version(home) / "report.json").read_text())["training"]
    assert [step for step, _ in training["selectionCurve"]] == [2, 4]
    assert training["bestStep"] in {2, 4}


@pytest.mark.training
def test_a_run_that_is_told_to_stop_says_so_and_publishes_nothing(home: Path) -> None:
    spec = a_spec()
    spec["training"]["args"]["max_steps"] = 100_000
    write_spec(home, spec)
    with subprocess.Popen(
        command(home), cwd=home, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "step 1 of" in line:
                break
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=120)
    assert process.returncode == ExitCode.INTERRUPTED
    assert "Interrupted: the run was stopped by SIGTERM; nothing was published" in errors
    assert list((home / "models").rglob("*.safetensors")) == []
    assert list((home / "work").glob("run-*")) == []


def stopped_by_control_c(home: Path, *options: str) -> tuple[int, str]:
    """Exit code and errors of a run that is interrupted in its training, as a terminal does it."""
    with subprocess.Popen(
        command(home, *options),
        cwd=home, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if "step 1 of" in line or "going on after" in line:
                break
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=120)
    return process.returncode, "".join(lines) + errors


@pytest.mark.training
@pytest.mark.slow
def test_a_run_that_was_interrupted_at_a_terminal_goes_on_by_the_same_command(home: Path) -> None:
    spec = a_spec()
    spec["training"]["args"]["max_steps"] = 60
    write_spec(home, spec)
    code, errors = stopped_by_control_c(home)
    assert code == 130
    found = re.search(r"the checkpoint of step (\d+) in (\S+)", errors)
    assert found is not None, errors
    assert (Path(found[2]) / f"step-{found[1]}" / "COMPLETE").is_file()

    code, errors = stopped_by_control_c(home, "--fresh")
    assert code == 130
    assert "going on after" not in errors
    found = re.search(r"the checkpoint of step (\d+)", errors)
    assert found is not None, errors

    code, output = run_here(home, spec)
    assert code == ExitCode.DONE, output
    training = json.loads((version(home) / "report.json").read_text())["training"]
    assert training["resumedAt"] == [int(found[1])]
    assert list((home / "work" / "checkpoints").iterdir()) == []
    digest = latest(home)["digest"]

    shutil.rmtree(home / "models" / "forms")
    code, output = run_here(home, spec)
    assert code == ExitCode.DONE, output
    assert latest(home)["digest"] == digest


def test_a_second_control_c_ends_a_run_at_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted_twice(_: Any) -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("finetune_trainer.local.command.run_finetune", interrupted_twice)
    code, _ = run_here(home, a_spec())
    assert code == 130


@pytest.mark.training
def test_a_run_needs_no_name_no_home_and_no_writable_root(home: Path) -> None:
    spec = a_spec()
    spec["training"]["args"]["max_steps"] = 1
    spec["evaluation"]["gates"] = []
    write_spec(home, spec)
    data = (home / "data").resolve()
    (home / "data").unlink()
    shutil.copytree(data, home / "data")
    bubblewrap = str(require_program("bwrap", "bubblewrap"))
    sandbox = [bubblewrap, "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    # Also /tmp cannot be written: only the claims and the scratch space can, as in a pod.
    sandbox += ["--bind", str(home), str(home), "--unshare-user", "--uid", "54321", "--gid", "54321"]
    nobody = {
        **ENVIRONMENT,
        "HOME": "/nonexistent",
        "TMPDIR": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
    }
    done = subprocess.run(
        [*sandbox, *command(home)],
        cwd=home,
        env=nobody,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == ExitCode.DONE, done.stderr
    assert (version(home) / "model.safetensors").is_file()


def with_column(spec: dict[str, Any], _: Path) -> None:
    spec["data"]["train"][0]["columns"] = {"query": "question", "positive": "p"}


def with_epochs(spec: dict[str, Any], _: Path) -> None:
    spec["training"]["epochs"] = "-1"


def with_gate_on_selection(spec: dict[str, Any], _: Path) -> None:
    spec["training"]["selection"] = {"evaluator": "forms"}


def with_number(spec: dict[str, Any], _: Path) -> None:
    spec["training"]["learningRate"] = 0.01


def with_typo(spec: dict[str, Any], _: Path) -> None:
    spec["training"]["args"] = {"weight_decy": 0.1}


def with_unknown_field(spec: dict[str, Any], _: Path) -> None:
    spec["training"]["epoch"] = "1"


def with_missing_image(spec: dict[str, Any], home: Path) -> None:
    pages = home / "pages" / "test"
    pages.mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(pages / "a.png")
    rows = [{"file_name": name, "q": name} for name in ("a.png", "gone.png")]
    (pages / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    spec["data"]["eval"][0] |= {
        "uri": "pvc://pages", "split": "test", "columns": {"query": "q", "positive": "image"},
    }  # fmt: skip


def with_empty_split(spec: dict[str, Any], _: Path) -> None:
    spec["data"]["train"][0]["uri"] = "pvc://data/empty.jsonl"


def with_missing_eval_data(spec: dict[str, Any], _: Path) -> None:
    spec["data"]["eval"][0]["uri"] = "pvc://data/nowhere.jsonl"


def with_model_without_weights(spec: dict[str, Any], home: Path) -> None:
    shutil.copytree(home / "data" / "model", home / "broken" / "model")
    (home / "broken" / "model" / "model.safetensors").unlink()
    spec["model"]["uri"] = "pvc://broken/model"


def with_model_of_missing_weights(spec: dict[str, Any], home: Path) -> None:
    shutil.copytree(home / "data" / "model", home / "broken" / "model")
    file = home / "broken" / "model" / "model.safetensors"
    weights = load_file(file)
    save_file(
        {k: v for k, v in weights.items() if "layer.1.output" not in k}, file, metadata={"format": "pt"}
    )
    spec["model"]["uri"] = "pvc://broken/model"


def with_missing_volume(spec: dict[str, Any], _: Path) -> None:
    spec["output"]["uri"] = "pvc://elsewhere/forms"


def with_target_of_another(spec: dict[str, Any], home: Path) -> None:
    (home / "models" / "forms").mkdir()
    owner = {"namespace": "team", "name": "other", "uri": "u", "digest": "d", "uid": "x", "run": 1}
    (home / "models" / "forms" / "latest.json").write_text(json.dumps(owner))
    spec["output"]["uri"] = "pvc://models/forms"


def with_too_many_dimensions(spec: dict[str, Any], _: Path) -> None:
    spec["loss"]["matryoshkaDims"] = [128, 32]


BROKEN = [
    (with_epochs, ExitCode.BAD_SPEC, "training.epochs: must be greater than 0"),
    (with_number, ExitCode.BAD_SPEC, "training.learningRate: must be a text, found 0.01; put it into quotes"),
    (with_unknown_field, ExitCode.BAD_SPEC, "training.epoch: is no field here"),
    (with_gate_on_selection, ExitCode.BAD_SPEC, "`training.selection` must judge on data that no gate reads"),
    (with_typo, ExitCode.BAD_SPEC, "did you mean 'weight_decay'?"),
    (with_too_many_dimensions, ExitCode.BAD_SPEC, "64 dimensions, found 128"),
    (with_missing_volume, ExitCode.BAD_SPEC, "'elsewhere'"),
    (with_column, ExitCode.BAD_DATA, "'question'"),
    (with_missing_image, ExitCode.BAD_DATA, "gone.png"),
    (with_empty_split, ExitCode.BAD_DATA, "empty.jsonl"),
    (with_missing_eval_data, ExitCode.BAD_SPEC, "nowhere.jsonl"),
    (with_model_without_weights, ExitCode.BAD_MODEL, "must have weights"),
    (with_model_of_missing_weights, ExitCode.BAD_MODEL, "layer.1.output"),
    (with_target_of_another, ExitCode.TARGET_IN_USE, "holds the models of finetune team/other"),
]


@pytest.mark.parametrize(
    ("break_spec", "code", "message"), BROKEN, ids=lambda value: getattr(value, "__name__", None)
)
def test_bad_input_ends_with_its_exit_code_and_says_what_is_wrong(
    home: Path, break_spec: Callable[[dict[str, Any], Path], None], code: ExitCode, message: str
) -> None:
    spec = a_spec()
    if break_spec is with_too_many_dimensions:
        del spec["model"]["truncateDim"]
    break_spec(spec, home)
    found, output = run_here(home, spec)
    assert found == code, output
    assert message in output
    assert not list((home / "models").rglob("*.safetensors"))


def test_a_file_with_two_documents_is_refused(home: Path) -> None:
    text = f"{json.dumps(a_spec())}\n---\n{json.dumps(a_spec())}"
    code, output = run_here(home, text)
    assert code == ExitCode.BAD_SPEC
    assert "must hold one spec, found 2 documents" in output


def test_a_volume_may_be_named_on_the_command_line(home: Path, tmp_path: Path) -> None:
    spec = a_spec()
    spec["data"]["train"][0]["uri"] = "pvc://elsewhere/empty.jsonl"
    code, output = run_here(home, spec, "--volume", f"elsewhere={home / 'data'}")
    assert code == ExitCode.BAD_DATA, output
    code, output = run_here(home, spec, "--volume", f"elswhere={home / 'data'}")
    assert code == ExitCode.BAD_SPEC
    assert "--volume elswhere: the spec names no such claim; it names data, elsewhere, models" in output
    code, output = run_here(home, spec, "--volume", "elsewhere")
    assert code == ExitCode.BAD_SPEC
    assert "--volume must read CLAIM=DIR" in output


def test_a_secret_is_looked_for_where_the_option_says(home: Path) -> None:
    spec = a_spec()
    spec["model"] = {"uri": f"hf://owner/model@{'0' * 40}", "secretRef": {"name": "hub"}}
    code, output = run_here(home, spec, "--secrets", str(home / "mounted"))
    assert code == ExitCode.NO_ACCESS
    assert "Secret 'hub' has no folder on this machine" in output


def test_a_config_map_is_looked_for_where_the_option_says(home: Path) -> None:
    spec = a_spec()
    spec["data"]["train"][0]["uri"] = "configmap://rows/train.jsonl"
    code, output = run_here(home, spec, "--configmaps", str(home / "mounted"))
    assert code == ExitCode.BAD_SPEC
    assert "ConfigMap 'rows' has no folder on this machine" in output
    (home / "mounted/rows").mkdir(parents=True)
    code, output = run_here(home, spec, "--configmaps", str(home / "mounted"))
    assert code == ExitCode.BAD_SPEC
    assert "the ConfigMap has none" in output


def test_help_does_not_import_what_is_slow() -> None:
    code = "import sys, finetune_trainer.__main__; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert not {"torch", "numpy", "pydantic", "transformers", "httpx"} & set(done.stdout.split())
