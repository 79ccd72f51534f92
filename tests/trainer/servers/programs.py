"""Starts a server program and waits until it listens."""

import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.ports import reserve
from tests.cluster.waiting import eventually


@contextmanager
def free_port() -> Iterator[int]:
    with reserve(1) as (port,):
        yield port


@contextmanager
def serving(command: Sequence[str | Path], *, port: int, log: Path) -> Iterator[None]:
    """The program running and listening on the port of this machine."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(part) for part in command], stdout=output, stderr=output, stdin=subprocess.DEVNULL
        )
    try:
        eventually(lambda: _listens(port, process, log), f"{command[0]} on port {port}")
        yield
    finally:
        process.terminate()
        process.wait()


def _listens(port: int, process: "subprocess.Popen[bytes]", log: Path) -> bool:
    assert process.poll() is None, log.read_text(errors="replace")
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def write_secret(folder: Path, keys: dict[str, str]) -> Path:
    """A Secret as it is mounted: one file a key."""
    folder.mkdir(parents=True, exist_ok=True)
    for key, value in keys.items():
        (folder / key).write_text(value)
    return folder
