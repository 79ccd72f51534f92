"""Debian's docker-registry (the CNCF distribution) over a folder, with a password."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests.cluster.binaries import require_program
from tests.trainer.servers.programs import free_port, serving

USER, PASSWORD = "robot", "not-a-secret"
_HASHED = "$2b$04$o7V4/bOcveByDQoQFf72s./vw3ZABl2.4D8I2HA666fYak9pQrrdS"


@dataclass(frozen=True)
class Registry:
    """host: with its port; root: where it keeps what is pushed."""

    host: str
    root: Path

    def keys(self, *, host: str | None = None, password: str = PASSWORD) -> dict[str, str]:
        """The keys of a Secret of type kubernetes.io/dockerconfigjson that opens it."""
        word = base64.b64encode(f"{USER}:{password}".encode()).decode()
        return {".dockerconfigjson": json.dumps({"auths": {host or self.host: {"auth": word}}})}


@contextmanager
def running_registry(folder: Path) -> Iterator[Registry]:
    root = folder / "registry"
    passwords = folder / "htpasswd"
    passwords.write_text(f"{USER}:{_HASHED}\n")
    with free_port() as port:
        configuration = {
            "version": 0.1,
            "log": {"level": "warn"},
            "storage": {"filesystem": {"rootdirectory": str(root)}, "delete": {"enabled": True}},
            "http": {"addr": f"127.0.0.1:{port}", "secret": "of-no-use"},
            "auth": {"htpasswd": {"realm": "tests", "path": str(passwords)}},
        }
        path = folder / "registry.yml"
        path.write_text(yaml.safe_dump(configuration))
        program = require_program("docker-registry", "docker-registry")
        with serving([program, "serve", path], port=port, log=folder / "registry.log"):
            yield Registry(f"localhost:{port}", root)
