"""The command line: `finetune-trainer run SPEC.yaml` on this machine, `finetune-trainer pod` in a Job.

Only arguments here; both commands hand over to `pipeline`. What is slow to import is imported inside.
"""

import logging
import os
import sys
import time
from pathlib import Path
from typing import Annotated, TextIO

import typer

app = typer.Typer(
    help="Fine-tune an embedding model, measure it before and after, publish it when it passes its gates.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_QUIET = ("datasets", "filelock", "fsspec", "httpx", "huggingface_hub", "matplotlib", "PIL", "urllib3")
"""Libraries whose warnings tell nothing to a person who runs a spec."""


@app.command()
def run(  # noqa: PLR0917 - typer gives them by name
    spec: Annotated[Path, typer.Argument(help="An EmbeddingFinetune manifest, or its spec alone.")],
    volumes: Annotated[
        Path, typer.Option(help="Folder that has one folder for every claim of pvc:// URIs.")
    ] = Path(),
    volume: Annotated[
        list[str] | None, typer.Option(metavar="CLAIM=DIR", help="Folder of one claim; may be given again.")
    ] = None,
    secrets: Annotated[Path, typer.Option(help="Folder with <secret>/<key> for every secretRef.")] = Path(
        "secrets"
    ),
    work: Annotated[
        Path | None, typer.Option(help="Scratch space and cache. Default: ~/.cache/finetune-trainer.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Run also what has been published already.")] = False,
) -> None:
    """Run a spec on this machine, without a cluster.

    Exit codes: 0 done, 3 a gate was not passed, 10 to 19 something for you to mend, others may be tried
    again.
    """
    _prepare_process(sys.stderr, logging.WARNING if sys.stderr.isatty() else logging.INFO)
    from finetune_trainer.command import run_locally

    code = run_locally(spec, volumes=volumes, named=volume or [], secrets=secrets, work=work, again=again)
    raise typer.Exit(code)


@app.command()
def pod() -> None:
    """Run what the operator has mounted into this pod."""
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
