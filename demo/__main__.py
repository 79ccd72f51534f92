"""Two fine-tunes on a local Kubernetes cluster, from apply to a measured, published model.

Brings up a disposable cluster and the operator, applies crds/examples/visual-documents.yaml and
german-search.yaml, shows how they go, and ends with the numbers before and after. Models, logs and
pictures stay in demo-results/.

Exit codes: 0 both are Ready and reach what is expected, 1 they do not, 2 wrong usage, 130 interrupted.
"""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from demo.cluster_setup import how_to_stop
from demo.errors import DemoError
from demo.run import run_demo
from demo.tasks import TASKS
from tests.cluster import ClusterError

RESULTS = Path("demo-results")
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; the exit code."""
    options = _parser().parse_args(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)  # also where a shell started it in the background, deaf to SIGINT
    console = Console()
    tasks = [task for task in TASKS if options.only in {None, task.name}]
    try:
        results = run_demo(console, tasks, RESULTS, keep=options.keep)
    except (DemoError, ClusterError) as error:
        console.print(Text.assemble(("demo: ", "red"), str(error)), soft_wrap=True)
        if options.keep:
            console.print(f"if the cluster is up, stop it: {how_to_stop()}", highlight=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("interrupted; the cluster is removed")
        return INTERRUPTED
    return 1 if any(result.shortfall for result in results) else 0


def _interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m demo", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keep", action="store_true", help="leave the cluster up and say how to use it")
    parser.add_argument("--only", choices=[task.name for task in TASKS], help="run one of the two finetunes")
    return parser


if __name__ == "__main__":
    sys.exit(main())
