"""The run, stage by stage: the order of everything that a fine-tune does, for a pod and for a person alike.

target -> earlier report -> check spec -> sources -> data -> model checks -> baseline -> training ->
evaluation -> gates -> publish

Nothing here knows the command line. What is slow to import is imported when its stage comes.
"""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from finetune_api.exit_codes import ExitCode
from finetune_api.report import Report
from finetune_trainer.checkpoints import open_checkpoints
from finetune_trainer.errors import TrainerError
from finetune_trainer.failures import as_trainer_error
from finetune_trainer.interruption import Interrupted
from finetune_trainer.run import Run
from finetune_trainer.storage import storage_errors

if TYPE_CHECKING:
    from finetune_trainer.publishing import Target
    from finetune_trainer.reporting.results import Results


@dataclass(frozen=True)
class Ending:
    """How a run ended.

    full_report: the file, None when nothing was measured; repeated: an earlier attempt did it all.
    """

    report: Report
    exit_code: ExitCode
    full_report: Path | None = None
    repeated: bool = False


def run_finetune(run: Run) -> Ending:
    """All stages. Every failure becomes a Failed Report; only what is no Exception passes through.

    Checkpoints are removed when there is a result; after a failure another attempt may go on from them.
    """
    try:
        ending = _run_stages(run)
    except Exception as error:  # noqa: BLE001 - here is where whatever happens is told
        return _failed(run, as_trainer_error(error))
    if run.checkpoints is not None:
        run.checkpoints.clear()
    return ending


def _failed(run: Run, error: TrainerError) -> Ending:
    failure = error.as_failure()
    step = run.checkpoints.newest_step if run.checkpoints is not None else None
    if run.checkpoints is not None and step is not None and isinstance(error, Interrupted):
        where = f"the checkpoint of step {step} in {run.checkpoints.where}"
        failure = failure.model_copy(update={"hint": f"start it again: it goes on from {where}"})
    report = Report(
        uid=run.file.uid, run=run.file.run, outcome="Failed", failure=failure, checkpoint_step=step
    )
    return Ending(report, error.exit_code)


def _run_stages(run: Run) -> Ending:
    from finetune_trainer.publishing import find_published, local_report, open_target

    with run.stage("Preparing"):
        run.checkpoints = open_checkpoints(run.file, run.places, run.note)
        target = open_target(run.file, run.places)
        if target is not None and (earlier := find_published(target)) is not None:
            full = local_report(target, earlier.artifact) if earlier.artifact else None
            return Ending(earlier, ExitCode.DONE, full, repeated=True)
        from finetune_trainer.training.checks import check_spec

        check_spec(run.file.spec)
        if run.checkpoints is not None:
            run.checkpoints.look()
        run.places.work.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="run-", dir=run.places.work))
    try:
        return _measure_and_publish(run, target, scratch)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _measure_and_publish(run: Run, target: "Target | None", scratch: Path) -> Ending:
    from finetune_trainer import stages
    from finetune_trainer.comparison import measuring
    from finetune_trainer.publishing import published_model

    spec = run.file.spec
    baselines = measuring.Baselines()
    with run.stage("Preparing"):
        material = stages.prepare(run)
    if spec.evaluation.compare_to != "None":
        with run.stage("Baseline"):
            baselines = measuring.measure_baselines(
                run, material, scratch, lambda: published_model(target) if target else None
            )
    with run.stage("Training"):
        training = stages.tune(run, material, scratch)
    with run.stage("Evaluating"):
        tuned = measuring.measure_as_saved(run, material, training.model, scratch / "model")
        results = stages.judge(run, material, training, baselines=baselines, tuned=tuned)
    return _conclude(run, target, results, scratch / "model")


def _conclude(run: Run, target: "Target | None", results: "Results", model: Path) -> Ending:
    from finetune_trainer.publishing import REPORT, local_report, publish
    from finetune_trainer.reporting.beside import files_beside, files_without_model
    from finetune_trainer.reporting.summary import build_report

    report = build_report(results)
    passed = report.outcome == "Succeeded"
    if passed and target is not None:
        with run.stage("Publishing"):
            artifact = publish(target, model, lambda where: files_beside(results, report, where))
        report = report.model_copy(update={"artifact": artifact})
        return Ending(report, ExitCode.DONE, local_report(target, artifact))
    with storage_errors("writing the full report"):
        for name, content in files_without_model(results, report).items():
            (run.places.work / name).write_bytes(content)
    code = ExitCode.DONE if passed else ExitCode.GATE_NOT_PASSED
    return Ending(report, code, run.places.work / REPORT)
