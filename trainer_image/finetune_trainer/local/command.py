"""The commands `run` and `check`: a spec on this machine, shown to a person."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from finetune_api.exit_codes import ExitCode
from finetune_api.run_file import RunFile
from finetune_api.uris import PvcUri, parse_uri
from finetune_trainer.checkpoints import open_checkpoints
from finetune_trainer.errors import InvalidSpec, TrainerError
from finetune_trainer.interruption import stopping_on_signals
from finetune_trainer.local.check_view import Looking, show_findings
from finetune_trainer.local.planning import find_volumes, first_run, plan_run
from finetune_trainer.local.preflight import Preflight, check_run
from finetune_trainer.local.results_view import show_ending, show_failure
from finetune_trainer.local.spec_file import SpecFile, read_spec
from finetune_trainer.pipeline import Ending, run_finetune
from finetune_trainer.places import Places
from finetune_trainer.reporters.terminal import Bars, Lines
from finetune_trainer.run import Run

_LOG_WIDTH = 120


@dataclass(frozen=True)
class Folders:
    """Where the command line says that things are. named: `CLAIM=DIR` each."""

    volumes: Path
    named: Sequence[str]
    secrets: Path
    config_maps: Path
    work: Path | None

    def places(self, file: SpecFile) -> Places:
        """Raises InvalidSpec for an option that cannot be meant."""
        folders = find_volumes(file, root=self.volumes, named=dict(map(_parse_volume, self.named)))
        # The spec is the person's own, so is the network.
        work = self.work or _default_work()
        return Places(
            folders,
            self.secrets,
            work,
            self.config_maps,
            checkpoints=work / "checkpoints",
            private_addresses=True,
        )


def run_locally(
    path: Path, folders: Folders, *, again: bool, fresh: bool = False, allow_remote_code: bool = False
) -> int:
    """Run, show, and give the exit code. fresh: from the first step on, whatever was interrupted before."""
    errors = _console(stderr=True)
    try:
        file = read_spec(path)
        places = folders.places(file)
        run_file = plan_run(file, path, places, again=again, allow_remote_code=allow_remote_code)
    except TrainerError as error:
        show_failure(errors, error.as_failure())
        return error.exit_code
    if fresh and (checkpoints := open_checkpoints(run_file, places, errors.print)) is not None:
        checkpoints.clear()
    ending, code = _run(run_file, places, errors)
    failed = ending.report.outcome == "Failed"
    console = errors if failed else _console()
    # Notes have been told on the way; a file that standard output goes to should have them too.
    with_notes = ending.repeated or not console.is_terminal
    show_ending(console, ending, folder=_folder(ending, places), with_notes=with_notes)
    return code


def check_locally(path: Path, folders: Folders, *, allow_remote_code: bool = False) -> ExitCode:
    """Look at everything that needs no training, show what was found, and give the exit code."""
    console = _console()
    try:
        file = read_spec(path)
        places = folders.places(file)
    except TrainerError as error:
        show_failure(_console(stderr=True), error.as_failure())
        return error.exit_code
    with Looking(_console(stderr=True)) as looking:
        preflight = Preflight(looking.at)
        check_run(first_run(file, path, allow_remote_code=allow_remote_code), places, preflight)
    show_findings(console, path.name, preflight.findings)
    return preflight.exit_code


def _run(run_file: RunFile, places: Places, errors: Console) -> tuple[Ending, int]:
    """The ending and its exit code; after Ctrl-C, that of shells for SIGINT."""
    bars = Bars(errors) if errors.is_terminal else None
    failed = True
    try:
        with stopping_on_signals() as stop:
            ending = run_finetune(Run(run_file, places, bars or Lines(), stop))
        failed = ending.report.outcome == "Failed"
        interrupted = ending.exit_code is ExitCode.INTERRUPTED
        return ending, stop.exit_code if interrupted else ending.exit_code
    finally:
        if bars is not None:
            bars.close(failed=failed)


def _console(*, stderr: bool = False) -> Console:
    """As wide as the terminal, or as a log can bear."""
    console = Console(stderr=stderr)
    if not console.is_terminal:
        console.width = _LOG_WIDTH
    return console


def _parse_volume(text: str) -> tuple[str, Path]:
    claim, sign, folder = text.partition("=")
    if not (claim and sign and folder):
        raise InvalidSpec(
            "InvalidVolume", f"--volume must read CLAIM=DIR, found {text!r}", "correct the option"
        )
    return claim, Path(folder)


def _default_work() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "finetune-trainer"


def _folder(ending: Ending, places: Places) -> str | None:
    """Where the published model is: its folder on this machine, or else its URI."""
    if ending.report.artifact is None:
        return None
    text = ending.report.artifact.uri
    if not text.startswith("pvc://"):
        return text
    uri = parse_uri(text)
    assert isinstance(uri, PvcUri)  # noqa: S101 - for the type checker
    return str(places.volume(uri.claim) / uri.path)
