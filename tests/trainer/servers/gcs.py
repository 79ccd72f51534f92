"""fake-gcs-server: Google Cloud Storage's JSON API, in memory. It takes every credential."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx

from tests.cluster.binaries import MODULES, ensure_built
from tests.trainer.servers.programs import free_port, serving


@dataclass(frozen=True)
class Gcs:
    """endpoint: its URL."""

    endpoint: str

    def make(self, bucket: str = "") -> str:
        """A new bucket, by a name of its own unless told."""
        bucket = bucket or f"bucket-{uuid4().hex[:12]}"
        self._post("/storage/v1/b", json.dumps({"name": bucket}).encode())
        return bucket

    def put(self, bucket: str, files: dict[str, bytes]) -> None:
        for key, content in files.items():
            self._post(f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name={key}", content)

    def _post(self, path: str, content: bytes) -> None:
        headers = {"Content-Type": "application/json"}
        httpx.post(self.endpoint + path, content=content, headers=headers).raise_for_status()


@contextmanager
def running_gcs(folder: Path) -> Iterator[Gcs]:
    program = ensure_built(MODULES["fake-gcs-server"], print) / "fake-gcs-server"
    with free_port() as port:
        command = [str(program), "-backend", "memory", "-scheme", "http"]
        command += ["-host", "127.0.0.1", "-port", str(port)]
        command += ["-public-host", f"127.0.0.1:{port}", "-external-url", f"http://127.0.0.1:{port}"]
        with serving(command, port=port, log=folder / "gcs.log"):
            yield Gcs(f"http://127.0.0.1:{port}")
