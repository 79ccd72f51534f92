"""The order of the stages and what a failure in them leaves; each stage has tests of its own."""

import json
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from finetune_api import run_file
from finetune_api.exit_codes import ExitCode
from finetune_api.report import Report
from finetune_api.run_file import RunFile
from finetune_api.status import Phase
from finetune_trainer import stages
from finetune_trainer.comparison import measuring
from finetune_trainer.evaluation import evaluate
from finetune_trainer.interruption import StopRequest
from finetune_trainer.pipeline import Ending, run_finetune
from finetune_trainer.places import Places
from finetune_trainer.pod import PodPaths, run_in_pod
from finetune_trainer.run import Run
from finetune_trainer.training.outcome import TrainingProgress
from tests.trainer.builders import a_spec, fill_for_a_run

QUICK = {"args": {"max_steps": 2}}


class Told:
    """Remembers what it is told, and may ask for a stop at a phase."""

    def __init__(self, stop: StopRequest, stop_at: Phase | None = None) -> None:
        self.phases: list[Phase] = []
        self.steps: list[int] = []
        self.notes: list[str] = []
        self.resumed_after: list[tuple[int, int]] = []
        self.checkpoints: list[int] = []
        self._stop, self._stop_at = stop, stop_at

    def begin(self, phase: Phase) -> None:
        self.phases.append(phase)
        if phase == self._stop_at:
            self._stop.set(signal.SIGTERM)

    def fetched(self, name: str, done: int, total: int) -> None: ...

    def encoded(self, done: int, total: int) -> None: ...

    def resumed(self, step: int, total_steps: int) -> None:
        self.resumed_after.append((step, total_steps))

    def trained(self, progress: TrainingProgress) -> None:
        self.steps.append(progress.step)

    def checkpointed(self, step: int) -> None:
        self.checkpoints.append(step)

    def note(self, message: str) -> None:
        self.notes.append(message)


@pytest.fixture
def places(places: Places, text_model: Path) -> Places:
    fill_for_a_run(places, text_model)
    return places


def a_run(**changes: Any) -> RunFile:
    spec = {**a_spec(training=QUICK).to_dict(), "output": {"uri": "pvc://models/out"}, **changes}
    return RunFile.model_validate(
        {"namespace": "team", "name": "search", "uid": "u-1", "run": 1, "specHash": "v1:0", "spec": spec}
    )


def ended(places: Places, file: RunFile, *, stop_at: Phase | None = None) -> tuple[Ending, Told]:
    stop = StopRequest()
    told = Told(stop, stop_at)
    return run_finetune(Run(file, places, told, stop, "registry/trainer@sha256:1")), told


@pytest.mark.training
def test_the_stages_come_in_their_order_and_lead_to_a_published_model(places: Places) -> None:
    ending, told = ended(places, a_run())
    assert ending.report.outcome == "Succeeded", ending.report.failure
    assert told.phases == ["Preparing", "Baseline", "Training", "Evaluating", "Publishing"]
    assert told.steps == [1, 2]
    assert ending.report.artifact is not None
    assert ending.full_report is not None
    assert json.loads(ending.full_report.read_text())["report"] == ending.report.to_dict()
    assert ending.report.lineage is not None
    assert ending.report.lineage.image == "registry/trainer@sha256:1"
    assert any("LowPower" in note for note in told.notes)

    again, told = ended(places, a_run())
    assert again.repeated
    assert again.report == ending.report
    assert told.phases == ["Preparing"]


@pytest.mark.training
def test_a_stop_is_told_and_leaves_nothing_behind(places: Places) -> None:
    for phase in ("Preparing", "Baseline", "Training", "Evaluating"):
        ending, told = ended(places, a_run(), stop_at=phase)
        assert told.phases[-1] == phase
        assert ending.exit_code is ExitCode.INTERRUPTED
        assert ending.report.failure is not None
        assert ending.report.failure.reason == "Interrupted"
        assert ending.report.failure.retryable
        assert not list((places.volume("models") / "out").iterdir())
        assert not list(places.work.glob("run-*"))


def checkpoints_of(places: Places) -> Places:
    return replace(places, checkpoints=places.work / "checkpoints")


def _never(*_: Any) -> Any:
    raise AssertionError("the base model is measured again")


@pytest.mark.training
def test_a_training_that_was_stopped_is_gone_on_with(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    places = checkpoints_of(places)
    file = a_run(training={**a_spec(training={"args": {"max_steps": 4}}).training.to_dict()})
    stopped, told = ended(places, file, stop_at="Training")
    assert stopped.exit_code is ExitCode.INTERRUPTED
    assert (told.resumed_after, told.steps, told.checkpoints) == ([(0, 4)], [1], [1])
    assert stopped.report.checkpoint_step == 1
    assert stopped.report.failure is not None
    where = places.work / "checkpoints/team/search/u-1/1"
    assert stopped.report.failure.hint == (
        f"start it again: it goes on from the checkpoint of step 1 in {where}"
    )

    with monkeypatch.context() as patched:
        patched.setattr(measuring, "measure_as_saved", _never)
        stopped, told = ended(places, file, stop_at="Baseline")
        assert (stopped.report.checkpoint_step, told.steps) == (1, [])
        stopped, told = ended(places, file, stop_at="Training")
        assert (told.resumed_after, told.steps) == ([(1, 4)], [2])

    stopped, told = ended(places, file, stop_at="Evaluating")
    assert (told.resumed_after, told.steps, told.checkpoints) == ([(2, 4)], [3, 4], [4])
    assert stopped.report.checkpoint_step == 4

    ending, told = ended(places, file)
    assert ending.report.outcome == "Succeeded", ending.report.failure
    assert (told.resumed_after, told.steps) == ([(4, 4)], [])
    assert ending.full_report is not None
    full = json.loads(ending.full_report.read_text())
    assert (full["training"]["steps"], full["training"]["resumedAt"]) == (4, [1, 2, 4])
    assert len(full["training"]["lossCurve"]) == 4
    card = ending.full_report.with_name("README.md").read_text()
    assert "went on from checkpoints after these steps: 1, 2, 4" in card
    assert list((places.work / "checkpoints").iterdir()) == []


@pytest.mark.training
@pytest.mark.parametrize("minimum", ["0", "1"])
def test_no_checkpoint_outlives_a_result(places: Places, minimum: str) -> None:
    places = checkpoints_of(places)
    evaluation = {**a_spec().evaluation.to_dict(), "gates": [{"evaluator": "dev", "minimum": minimum}]}
    ending, told = ended(places, a_run(evaluation=evaluation))
    assert ending.report.outcome == ("Succeeded" if minimum == "0" else "GateFailed")
    assert told.checkpoints == [2]
    assert list((places.work / "checkpoints").iterdir()) == []


def test_base_and_tuned_model_are_measured_under_the_same_settings(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Any]] = []

    def recorded(model: Any, data: Any, evaluator: Any, **settings: Any) -> Any:
        settings.pop("heartbeat", None)
        seen.append({**settings, "data": data.digest, "evaluator": evaluator, "prompts": model.prompts})
        assert model.truncate_dim is None
        return evaluate(model, data, evaluator, **settings)

    monkeypatch.setattr(measuring, "evaluate", recorded)
    model = {"uri": "pvc://models/base", "prompts": {"query": "find: ", "document": ""}, "truncateDim": 16}
    training = {**QUICK, "batchSize": 8, "autocast": "bf16"}
    ending, _ = ended(places, a_run(model=model, training=training))
    assert ending.report.outcome == "Succeeded", ending.report.failure
    base, tuned = seen
    assert base == tuned
    assert base["dimensions"] == (16, 64)
    assert base["prompts"]["query"] == "find: "


def test_an_error_that_nobody_foresaw_becomes_a_report(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("by the stage")

    monkeypatch.setattr(stages, "prepare", broken)
    ending, _ = ended(places, a_run())
    assert ending.exit_code is ExitCode.INTERNAL
    assert ending.report.failure is not None
    assert ending.report.failure.message == "ZeroDivisionError: by the stage"
    assert not list(places.work.glob("run-*"))


def pod_paths(places: Places, file: RunFile | dict[str, Any]) -> PodPaths:
    config = places.work.parent / "config"
    config.mkdir()
    content = file if isinstance(file, dict) else file.to_dict()
    (config / run_file.RUN_FILE).write_text(json.dumps(content))
    assert isinstance(places.volumes, Path)
    return PodPaths(
        config, places.secrets, places.volumes, places.work, places.work.parent / "termination-log"
    )


@pytest.mark.training
def test_a_pod_leaves_its_report_as_termination_message(places: Places) -> None:
    evaluation = a_spec().evaluation.to_dict() | {"gates": [{"evaluator": "dev", "minimum": "1"}]}
    paths = pod_paths(places, a_run(evaluation=evaluation))
    # A gate that says no is no failure of the pod: the Report tells.
    assert run_in_pod(paths, {run_file.ENV_IMAGE: "trainer@sha256:2"}) is ExitCode.DONE
    report = Report.model_validate_json(paths.termination.read_text())
    assert report.outcome == "GateFailed"
    assert report.lineage is not None
    assert report.lineage.image == "trainer@sha256:2"


def test_a_pod_that_fails_says_why_and_ends_with_the_code(places: Places) -> None:
    paths = pod_paths(places, a_run(model={"uri": "pvc://models/nowhere"}))
    assert run_in_pod(paths, {}) is ExitCode.BAD_SPEC
    report = Report.model_validate_json(paths.termination.read_text())
    assert report.failure is not None
    assert "nowhere" in report.failure.message
    assert not report.failure.retryable


def test_a_spec_newer_than_the_image_is_refused_with_a_report(places: Places) -> None:
    content = a_run().to_dict()
    content["spec"]["hardNegatives"] = {"perQuery": 3}
    paths = pod_paths(places, content)
    assert run_in_pod(paths, {}) is ExitCode.BAD_SPEC
    report = Report.model_validate_json(paths.termination.read_text())
    assert (report.uid, report.run) == ("u-1", 1)
    assert report.failure is not None
    assert "hardNegatives" in report.failure.message


def test_a_termination_file_that_cannot_be_written_changes_nothing(places: Places) -> None:
    paths = pod_paths(places, a_run(model={"uri": "pvc://models/nowhere"}))
    paths = PodPaths(paths.config, paths.secrets, paths.volumes, paths.work, places.work.parent)
    assert run_in_pod(paths, {}) is ExitCode.BAD_SPEC


def compared_to(name: str, **gates: Any) -> dict[str, Any]:
    return {**a_spec().to_dict()["evaluation"], "compareTo": name, **gates}


@pytest.mark.training
def test_the_published_model_is_compared_with_from_the_second_run_on(places: Places) -> None:
    first, told = ended(places, a_run(evaluation=compared_to("Published")))
    assert first.report.measured is not None
    assert first.report.measured.primary.compared_to == "Base"
    assert any("nothing is published yet" in note for note in told.notes)

    training = {**a_spec(training=QUICK).to_dict()["training"], "seed": 7}
    again = a_run(evaluation=compared_to("Published"), training=training)
    second, _ = ended(places, again.model_copy(update={"run": 2, "spec_hash": "v1:1"}))
    assert second.report.measured is not None, second.report.failure
    primary, before = second.report.measured.primary, first.report.measured.primary
    assert (primary.compared_to, primary.baseline) == ("Published", before.tuned)
    assert primary.base == before.baseline


def test_a_gain_over_random_scores_is_refused_before_training(places: Places) -> None:
    gate = {"evaluator": "dev", "minimumGain": "0"}
    evaluation = compared_to("Base", gates=[gate])
    evaluation["evaluators"] = [{"name": "dev", "type": "Reranking", "data": "dev"}]
    encoder = places.volume("models") / "base"
    raw = {name for name in encoder.iterdir() if name.name in {"modules.json", "1_Pooling"}}
    for path in raw:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    spec = {**a_run().spec.to_dict(), "evaluation": evaluation}
    spec["model"] = {**spec["model"], "type": "Reranker"}
    file = a_run()
    file = file.model_copy(update={"spec": type(file.spec).model_validate(spec)})
    ending, told = ended(places, file)
    assert ending.report.failure is not None
    assert ending.report.failure.reason == "NoBaseline", ending.report.failure
    assert "Training" not in told.phases
