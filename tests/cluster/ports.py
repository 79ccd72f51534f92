"""Free TCP ports that two clusters starting at the same moment cannot both pick.

A port is reserved by a file lock held until the supervisor ends. They come from below the range the kernel
hands out to outgoing connections, so that no client's connection can take one between the check and its
use.
"""

import contextlib
import fcntl
import random
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tests.cluster.errors import ClusterError

FIRST, LAST = 20000, 29999
ATTEMPTS = 500


@contextlib.contextmanager
def reserve(count: int) -> Iterator[list[int]]:
    """Reserve that many ports for as long as the context lasts."""
    folder = Path(tempfile.gettempdir()) / "embedding-finetune-ports"
    folder.mkdir(exist_ok=True)
    with contextlib.suppress(PermissionError):  # another user made it, and made it writable for us
        folder.chmod(0o1777)
    with contextlib.ExitStack() as locks:
        ports: list[int] = []
        for port in random.sample(range(FIRST, LAST), ATTEMPTS):
            if len(ports) == count:
                break
            if (lock := _try_reserve(folder / str(port), port)) is not None:
                locks.enter_context(lock)
                ports.append(port)
        if len(ports) < count:
            raise ClusterError(f"no {count} free TCP ports among {ATTEMPTS} tried between {FIRST} and {LAST}")
        yield ports


def _try_reserve(path: Path, port: int) -> IO[str] | None:
    try:
        lock = path.open("w")
    except PermissionError:  # reserved by another user at some time
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
    except OSError:
        lock.close()
        return None
    return lock
