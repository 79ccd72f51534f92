"""`finetune-trainer check`: all that is wrong at once, and nothing written to the target."""

import json
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from finetune_api.exit_codes import ExitCode
from finetune_api.run_file import RunFile
from finetune_trainer.__main__ import app
from finetune_trainer.local.preflight import Finding, Preflight, check_run
from finetune_trainer.places import Places
from finetune_trainer.sources.model_files import read_model_files
from tests.trainer.builders import COLUMNS, a_spec, fill_for_a_run, pairs, write_jsonl, write_page


@pytest.fixture(autouse=True)
def level() -> Iterator[None]:
    """The command sets how much is logged, for its process."""
    logger = logging.getLogger("finetune_trainer")
    before = logger.level
    yield
    logger.setLevel(before)


@pytest.fixture
def places(places: Places, text_model: Path) -> Places:
    fill_for_a_run(places, text_model)
    return places


def spec_with(**changes: Any) -> dict[str, Any]:
    return {**a_spec().to_dict(), "output": {"uri": "pvc://models/out"}, **changes}


def looked_at(places: Places, spec: dict[str, Any]) -> dict[str, Finding]:
    run = RunFile.model_validate(
        {"namespace": "team", "name": "search", "uid": "u-1", "run": 1, "specHash": "v1:0", "spec": spec}
    )
    preflight = Preflight()
    check_run(run, places, preflight)
    return {finding.what: finding for finding in preflight.findings}


def reasons(findings: dict[str, Finding]) -> dict[str, str]:
    return {what: f.failure.reason for what, f in findings.items() if f.failure is not None}


def test_a_spec_that_works_is_looked_at_in_every_part_and_leaves_no_trace(places: Places) -> None:
    before = sorted(places.volume("models").rglob("*"))
    spec = spec_with()
    spec["data"]["hardNegatives"] = {"perQuery": 2}
    spec["evaluation"]["gates"] = [{"evaluator": "dev", "minimum": "0.1", "minimumGain": "0"}]
    findings = looked_at(places, spec)
    assert reasons(findings) == {}
    assert {what: f.found for what, f in findings.items()} == {
        "arguments": "no further ones",
        "target": "pvc://models/out, empty",
        "train set train": "40 rows: query (text), positive (text)",
        "eval set dev": "20 queries, 20 documents",
        "model": findings["model"].found,
        "overlap": "no train row has a query of an eval set",
        "gates": "1 can be judged: dev ndcg@10",
        "inputs of the model": "every column is something that it reads: text",
        "hard negatives": "40 documents to search for train",
        "losses": "loss of train set 'train': CachedMultipleNegativesRankingLoss by default, because it has"
        " 4 input columns (query, positive, negative_0, negative_1) and no label",
        "batches": "5 steps of 8 rows, fewer where hard negatives repeat",
    }
    assert "kB of weights; reads text" in findings["model"].found
    assert sorted(places.volume("models").rglob("*")) == before


def test_every_problem_is_told_and_what_stands_on_it_is_skipped(places: Places) -> None:
    spec = spec_with()
    spec["training"]["args"] = {"max_stepz": 1}
    spec["data"]["train"].append({"name": "more", "uri": "pvc://data/none.jsonl", "columns": COLUMNS})
    spec["data"]["eval"][0]["columns"] = {"query": "q", "positive": "answer"}
    spec["model"]["uri"] = "pvc://models/nothing"
    findings = looked_at(places, spec)
    assert reasons(findings) == {
        "arguments": "UnknownArgument",
        "train set more": "PathMissing",
        "eval set dev": "MissingColumn",
        "model": "PathMissing",
    }
    assert findings["train set train"].found
    assert [what for what, f in findings.items() if f.skipped] == [
        "overlap",
        "gates",
        "inputs of the model",
        "losses",
    ]


@pytest.mark.parametrize(
    ("changes", "what", "reason"),
    [
        ({"data.hardNegatives": {"perQuery": 20, "skipTop": 30}}, "hard negatives", "TooFewNegatives"),
        ({"training": {"batchSize": 64}}, "batches", "TooFewRows"),
        ({"data.eval.0.uri": "pvc://data/train.jsonl"}, "overlap", "Overlap"),
        ({"data.train.0.uri": "pvc://data/pages.jsonl"}, "inputs of the model", "UnsupportedModality"),
        ({"output": {"uri": "pvc://other/out"}}, "target", "VolumeMissing"),
        ({"loss": {"name": "TripletLoss"}}, "arguments", "LossDoesNotFit"),
        (
            {
                "loss": {"name": "ContrastiveLoss"},
                "data.train.0.uri": "pvc://data/scored.jsonl",
                "data.train.0.columns.label": "score",
            },
            "losses",
            "LossDoesNotFit",
        ),
        ({"model.type": "MultiVector"}, "model", "WrongType"),
        ({"model.trustRemoteCode": True}, "arguments", "RemoteCodeNotAllowed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_problem_shows_where_it_is(places: Places, changes: Any, what: str, reason: str) -> None:
    names = [write_page(places.volume("data") / f"{n}.png", str(n)).name for n in range(8)]
    write_jsonl(places.volume("data") / "pages.jsonl", [{"q": f"page {n}", "p": n} for n in names])
    write_jsonl(places.volume("data") / "scored.jsonl", [{**row, "score": 0.25} for row in pairs(40)])
    spec = spec_with()
    for path, value in changes.items():
        *parents, last = path.split(".")
        part: Any = spec
        for parent in parents:
            part = part[int(parent)] if parent.isdigit() else part[parent]
        part[last] = value
    assert reasons(looked_at(places, spec)) == {what: reason}


def test_the_loss_that_suits_the_data_is_told(places: Places) -> None:
    assert looked_at(places, spec_with())["losses"].found == (
        "loss of train set 'train': CachedMultipleNegativesRankingLoss by default, because it has 2 input"
        " columns (query, positive) and no label"
    )


def test_a_raw_checkpoint_tells_what_it_reads(places: Places, vision_model: Path) -> None:
    shutil.copytree(vision_model, places.volume("models") / "vision")
    files = read_model_files(a_spec(model={"uri": "pvc://models/vision"}).model, places)
    assert files.modalities == ("text", "image", "video")


def test_weights_in_another_format_are_no_weights(places: Places) -> None:
    folder = places.volume("models") / "base"
    (weights,) = folder.rglob("*.safetensors")
    weights.rename(weights.with_name("pytorch_model.bin"))
    assert reasons(looked_at(places, spec_with()))["model"] == "NoSafetensors"


def run_check(home: Path, spec: Any, *options: str) -> tuple[int, str]:
    path = home / "search.yaml"
    path.write_text(json.dumps(spec))
    arguments = ["check", str(path), "--volumes", str(home / "volumes"), "--work", str(home / "work")]
    result = CliRunner().invoke(app, [*arguments, *options])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


def test_the_command_shows_findings_and_exits_as_a_run_would(places: Places, tmp_path: Path) -> None:
    code, output = run_check(tmp_path, spec_with())
    assert code == ExitCode.DONE, output
    assert "✓ train set train" in output
    assert "search.yaml: nothing is wrong that can be seen without training." in output

    spec = spec_with()
    spec["data"]["eval"][0]["columns"] = {"query": "q", "positive": "answer"}
    code, output = run_check(tmp_path, spec)
    assert code == ExitCode.BAD_DATA
    assert "✗ eval set dev" in output
    assert "has no column 'answer'" in output
    assert "Next: correct the column's name" in output
    assert "search.yaml: 1 problem; 4 more things could not be looked at." in output

    code, output = run_check(tmp_path, {**spec_with(), "training": {"epoch": 1}})
    assert code == ExitCode.BAD_SPEC
    assert "training.epoch: is no field here" in output

    code, output = run_check(tmp_path, spec_with(), "--volume", "nothing")
    assert code == ExitCode.BAD_SPEC
    assert "CLAIM=DIR" in output


def test_every_command_has_help_and_the_program_a_version() -> None:
    for command in ([], ["run"], ["check"], ["pod"]):
        result = CliRunner().invoke(app, [*command, "--help"])
        assert result.exit_code == 0
        assert "Usage" in result.output
    assert CliRunner().invoke(app, ["--version"]).output.startswith("finetune-trainer 0.")
