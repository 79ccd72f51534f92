"""The command line: `finetune-trainer run SPEC.yaml` and `check SPEC.yaml` on this machine, `pod` in a Job.

Only arguments here; the commands hand over. What is slow to import is imported inside.
"""

import logging
import os
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, TextIO

import typer

app = typer.Typer(
    help="Fine-tune an embedding model, measure it before and after, publish it when it passes its gates.",
    epilog="Begin with: finetune-trainer check SPEC.yaml",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_QUIET = (
    "aiobotocore", "botocore", "datasets", "filelock", "fsspec", "gcsfs", "google", "httpx",
    "huggingface_hub", "matplotlib", "oras", "PIL", "s3fs", "urllib3",
)  # fmt: skip
"""Libraries whose warnings tell nothing to a person who runs a spec."""

Spec = Annotated[
    Path,
    typer.Argument(
        metavar="SPEC.yaml", help="An EmbeddingFinetune manifest as kubectl takes it, or its spec alone."
    ),
]
Volumes = Annotated[
    Path,
    typer.Option(metavar="DIR", help="Folder that has one folder for every claim of pvc:// URIs."),
]
Volume = Annotated[
    list[str] | None, typer.Option(metavar="CLAIM=DIR", help="Folder of one claim; may be given again.")
]
Secrets = Annotated[Path, typer.Option(metavar="DIR", help="Folder with <secret>/<key> for every secretRef.")]
ConfigMaps = Annotated[
    Path,
    typer.Option(
        "--configmaps", metavar="DIR", help="Folder with <configmap>/<key> for every configmap:// URI."
    ),
]
Work = Annotated[
    Path | None,
    typer.Option(metavar="DIR", help="Scratch space and cache.", show_default="~/.cache/finetune-trainer"),
]
TrustRemoteCode = Annotated[
    bool,
    typer.Option("--trust-remote-code", help="Let the spec run Python code that comes with its model."),
]
_CODES = (
    "Exit codes: 0 done, 3 a gate was not passed. For you to mend: 10 the spec, 11 the data, 12 the model,"
    " 13 credentials, 14 the target. Worth another try: 20 a source, 21 memory, 22 a disk, 1 anything else."
    " Interrupted: 130 by Ctrl-C, 143 by SIGTERM."
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"finetune-trainer {version('embedding-finetune-operator')}")
        raise typer.Exit


@app.callback()
def main(
    _: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options before the command."""


@app.command(
    epilog=_CODES,
    help="Run a spec on this machine, without a cluster: read the sources, measure the base model, train,"
    " measure again, and publish the model when it passes every gate. The same spec as a cluster takes."
    " Ctrl-C keeps what the training has done; the same command goes on from there.",
    short_help="Run a spec on this machine, without a cluster.",
)
def run(  # noqa: PLR0917 - typer gives them by name
    spec: Spec,
    volumes: Volumes = Path(),
    volume: Volume = None,
    secrets: Secrets = Path("secrets"),
    config_maps: ConfigMaps = Path("configmaps"),
    work: Work = None,
    again: Annotated[bool, typer.Option("--again", help="Run also what has been published already.")] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Begin anew where an interrupted run of this spec could go on.")
    ] = False,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Run, and exit with the run's code."""
    _prepare_process(sys.stderr, logging.WARNING if sys.stderr.isatty() else logging.INFO)
    from finetune_trainer.local.command import Folders, run_locally

    folders = Folders(volumes, volume or [], secrets, config_maps, work)
    raise typer.Exit(
        run_locally(spec, folders, again=again, fresh=fresh, allow_remote_code=trust_remote_code)
    )


@app.command(
    epilog=_CODES,
    help="Look at everything that can be known without training or a GPU: the spec and its arguments, every"
    " cell and media file of the data, what the model reads, overlap, gates and target. Tells all problems at"
    " once, each with its next step. Nothing is written to the target.",
    short_help="Look at everything that can be known without training.",
)
def check(  # noqa: PLR0917 - typer gives them by name
    spec: Spec,
    volumes: Volumes = Path(),
    volume: Volume = None,
    secrets: Secrets = Path("secrets"),
    config_maps: ConfigMaps = Path("configmaps"),
    work: Work = None,
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Check, and exit with the code of the first problem."""
    _prepare_process(sys.stderr, logging.ERROR)
    from finetune_trainer.local.command import Folders, check_locally

    folders = Folders(volumes, volume or [], secrets, config_maps, work)
    raise typer.Exit(check_locally(spec, folders, allow_remote_code=trust_remote_code))


@app.command()
def pod() -> None:
    """Run what the operator has mounted into this pod; not for people."""
    _prepare_process(sys.stdout, logging.INFO)
    from finetune_trainer.pod import PodPaths, run_in_pod

    raise typer.Exit(run_in_pod(PodPaths(), os.environ))


def _prepare_process(stream: TextIO, level: int) -> None:
    """Logs of ours from `level` on, of libraries only what is wrong; no telemetry, no forked tokenizers."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    logging.Formatter.converter = time.gmtime
    logging.basicConfig(
        stream=stream,
        level=logging.WARNING,
        format="%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
    )
    logging.getLogger("finetune_trainer").setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.ERROR)


if __name__ == "__main__":
    app()
