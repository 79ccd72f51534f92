"""`python -m tests.cluster`: the local cluster for people and scripts.

Exit codes: 0 done (for status: it runs), 1 an error that is told on stderr, 2 wrong usage, 3 status: it
does not run.
"""

import argparse
import os
import shlex
import sys
import time
from pathlib import Path

from tests.cluster import binaries
from tests.cluster.cluster import attach, start, stop
from tests.cluster.errors import ClusterError
from tests.cluster.state import Folder, Settings, named_folder

NOT_RUNNING = 3


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _up(arguments: argparse.Namespace) -> int:
    folder: Folder = arguments.folder
    if folder.is_alive():
        cluster = attach(folder.path)
        _say(f"already up: {cluster.server}")
    else:
        before = time.monotonic()
        cluster = start(folder, _settings(arguments), report=_say)
        for part, seconds in {**cluster.seconds, "up": time.monotonic() - before}.items():
            _say(f"{part:24}{seconds:7.2f} s")
    print(f"export KUBECONFIG={shlex.quote(str(cluster.kubeconfig))}")
    return 0


def _settings(arguments: argparse.Namespace) -> Settings:
    chosen = {
        "gpus": arguments.gpus,
        "cpus": arguments.cpus,
        "memory": arguments.memory,
        "path": arguments.path,
    }
    return Settings(**{name: value for name, value in chosen.items() if value is not None})


def _down(arguments: argparse.Namespace) -> int:
    folder: Folder = arguments.folder
    _say(f"removed {folder.path}" if stop(folder) else f"nothing in {folder.path}")
    return 0


def _status(arguments: argparse.Namespace) -> int:
    folder: Folder = arguments.folder
    if not folder.is_alive():
        print(f"down: {folder.path}")
        return NOT_RUNNING
    record = folder.read_record()
    if not record.get("ready"):
        print(f"starting: {folder.path}")
        return NOT_RUNNING
    print(f"up: {record['server']}  {folder.path}")
    for name, process in record["components"].items():
        print(f"  {name:26}pid {process:<8}{_resident_mebibytes(process):5.0f} MiB")
    return 0


def _resident_mebibytes(process: int) -> float:
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _env(arguments: argparse.Namespace) -> int:
    cluster = attach(arguments.folder.path)
    print(f"export KUBECONFIG={shlex.quote(str(cluster.kubeconfig))}")
    print(f"export PATH={shlex.quote(str(cluster.bin_dir))}:$PATH")
    return 0


def _build(arguments: argparse.Namespace) -> int:
    for module in arguments.module or [binaries.MODULES[name] for name in ("kubernetes", "etcd")]:
        print(binaries.ensure_built(module, _say))
    return 0


def _module(name: str) -> binaries.Module:
    if name not in binaries.MODULES:
        raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(binaries.MODULES)}")
    return binaries.MODULES[name]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.cluster", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, action: object, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.set_defaults(action=action)
        return added

    def on_a_cluster(name: str, action: object, text: str) -> argparse.ArgumentParser:
        added = command(name, action, text)
        added.add_argument("--name", default="default", help="which cluster (default: %(default)s)")
        added.add_argument("--dir", type=Path, help="its folder, instead of one in the cache named after it")
        return added

    up = on_a_cluster(
        "up", _up, "Start a cluster that runs until `down`; builds the programs the first time."
    )
    up.add_argument(
        "--gpus", type=int, help="nvidia.com/gpu that the node offers to the scheduler (default: 0)"
    )
    up.add_argument("--cpus", type=int, help="cpu that the node offers (default: those of this machine)")
    up.add_argument("--memory", help="memory that the node offers, not enforced (default: 64Gi)")
    up.add_argument("--path", help="folder put first into PATH of containers (default: this interpreter's)")
    on_a_cluster("down", _down, "Stop a cluster and remove its folder; fine when there is none.")
    on_a_cluster("status", _status, "Whether a cluster runs (exit code 0) or not (3), and what it uses.")
    on_a_cluster("env", _env, "Shell lines that set KUBECONFIG and PATH.")
    build = command("build", _build, "Build programs into the cache and print their folders.")
    build.add_argument("module", nargs="*", type=_module, help="kubernetes, etcd (both the default), helm")
    return parser


def main() -> int:
    """Run one command."""
    arguments = _parser().parse_args()
    if hasattr(arguments, "name"):
        arguments.folder = Folder(arguments.dir.absolute()) if arguments.dir else named_folder(arguments.name)
    try:
        return int(arguments.action(arguments))
    except ClusterError as error:
        _say(f"error: {error}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
