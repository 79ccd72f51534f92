"""The `pod` command: one attempt of a run inside its Job. The contract is `finetune_api.run_file`.

The Report goes into the termination message and to the operator; the exit code is for the Job's
podFailurePolicy.
"""

import contextlib
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from finetune_api import run_file
from finetune_api.exit_codes import USER_ERRORS, ExitCode
from finetune_api.report import Report
from finetune_api.run_file import RunFile
from finetune_trainer.errors import InvalidSpec
from finetune_trainer.interruption import stopping_on_signals
from finetune_trainer.pipeline import Ending, run_finetune
from finetune_trainer.places import Places
from finetune_trainer.reporters.operator import OperatorReporter, Server
from finetune_trainer.reporters.protocol import Several
from finetune_trainer.reporters.terminal import Lines
from finetune_trainer.run import Run

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PodPaths:
    """Where a pod has everything; tests put it elsewhere."""

    config: Path = Path(run_file.CONFIG_DIR)
    secrets: Path = Path(run_file.SECRETS_DIR)
    volumes: Path = Path(run_file.VOLUMES_DIR)
    work: Path = Path(run_file.WORK_DIR)
    termination: Path = Path(run_file.TERMINATION_FILE)
    config_maps: Path = Path(run_file.CONFIG_MAPS_DIR)
    cache: Path = Path(run_file.CACHE_DIR)
    checkpoints: Path = Path(run_file.CHECKPOINTS_DIR)

    @property
    def places(self) -> Places:
        """Cache and checkpoints are mounted where the spec has a claim for them."""
        cache = self.cache if self.cache.is_dir() else None
        checkpoints = self.checkpoints if self.checkpoints.is_dir() else None
        return Places(self.volumes, self.secrets, self.work, self.config_maps, cache, checkpoints)


def run_in_pod(paths: PodPaths, environment: Mapping[str, str]) -> ExitCode:
    """Run, report, and give the exit code. A gate that says no is a run that is done: the Report tells."""
    # The library's own callback would report to the same address, and calls an interrupted run finished.
    os.environ["DISABLE_KUBEFLOW_INTEGRATION"] = "TRUE"
    content = json.loads((paths.config / run_file.RUN_FILE).read_text(encoding="utf-8"))
    with _operator(environment) as operator, stopping_on_signals() as stop:
        try:
            file = RunFile.model_validate(content)
        except ValidationError as error:
            ending = _refused(content, error)
        else:
            reporter = Several([Lines(), *([operator] if operator else [])])
            image = environment.get(run_file.ENV_IMAGE)
            run = Run(file, paths.places, reporter, stop, image)
            ending = run_finetune(run)
            if run.checkpoints is not None and ending.exit_code in USER_ERRORS:
                # The run has failed for good: what follows a correction is another run.
                run.checkpoints.clear()
        _hand_over(ending.report, paths.termination, operator)
    return ExitCode.DONE if ending.exit_code is ExitCode.GATE_NOT_PASSED else ending.exit_code


@contextlib.contextmanager
def _operator(environment: Mapping[str, str]) -> Any:
    """The reporter, None where the pod was not told of an operator."""
    names = (run_file.ENV_SERVER_URL, run_file.ENV_SERVER_CA, run_file.ENV_SERVER_TOKEN)
    url, ca, token = (environment.get(name) for name in names)
    if not (url and ca and token):
        logger.warning("no operator is told: %s are not all set", ", ".join(names))
        yield None
        return
    with OperatorReporter(Server(url, Path(ca), Path(token))) as reporter:
        yield reporter


def _refused(content: Any, error: ValidationError) -> Ending:
    """The operator may be newer than this image: its spec may have fields that are not known here."""
    first = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    failure = InvalidSpec(
        "InvalidSpec",
        f"`{where}`: {first['msg']}",
        "correct the spec, or take a trainer image as new as the operator",
    )
    report = Report(uid=content["uid"], run=content["run"], outcome="Failed", failure=failure.as_failure())
    return Ending(report, failure.exit_code)


def _hand_over(report: Report, termination: Path, operator: OperatorReporter | None) -> None:
    text = report.to_json()
    logger.info("report: %s", text)
    try:
        termination.write_text(text, encoding="utf-8")
    except OSError as error:
        logger.error("the termination message cannot be written: %s", error)  # noqa: TRY400 - says it all
    if operator is not None:
        operator.finish(report)
