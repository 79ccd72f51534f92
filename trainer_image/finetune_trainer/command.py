"""The `run` command: a spec on this machine, shown to a person."""

import os
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from finetune_api.exit_codes import ExitCode
from finetune_api.uris import PvcUri, parse_uri
from finetune_trainer.errors import InvalidSpec, TrainerError
from finetune_trainer.interruption import stopping_on_signals
from finetune_trainer.local_run import find_volumes, plan_run
from finetune_trainer.pipeline import Ending, run_finetune
from finetune_trainer.places import Places
from finetune_trainer.results_view import show_ending, show_failure
from finetune_trainer.run import Run
from finetune_trainer.spec_file import read_spec
from finetune_trainer.terminal import Bars, Lines

_LOG_WIDTH = 120


def run_locally(
    path: Path, *, volumes: Path, named: Sequence[str], secrets: Path, work: Path | None, again: bool
) -> ExitCode:
    """Run, show, and give the exit code. named: `CLAIM=DIR` each."""
    errors = Console(stderr=True)
    try:
        file = read_spec(path)
        folders = find_volumes(file, root=volumes, named=dict(map(_parse_volume, named)))
        # The spec is the person's own, so is the network.
        places = Places(folders, secrets, work or _default_work(), private_addresses=True)
        run_file = plan_run(file, path, places, again=again)
    except TrainerError as error:
        show_failure(errors, error.as_failure())
        return error.exit_code
    bars = Bars(errors) if errors.is_terminal else None
    with stopping_on_signals() as stop:
        try:
            ending = run_finetune(Run(run_file, places, bars or Lines(), stop))
        finally:
            if bars is not None:
                bars.close()
    failed = ending.report.outcome == "Failed"
    console = errors if failed else Console()
    if not console.is_terminal:
        console.width = _LOG_WIDTH
    show_ending(console, ending, folder=_folder(ending, places))
    return ending.exit_code


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
    """Where the published model is on this machine."""
    if ending.report.artifact is None:
        return None
    uri = parse_uri(ending.report.artifact.uri)
    assert isinstance(uri, PvcUri)  # noqa: S101 - for the type checker; nothing else is published to
    return str(places.volume(uri.claim) / uri.path)
