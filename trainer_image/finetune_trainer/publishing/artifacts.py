"""oci://: a version is an artifact in the form of the CNCF's ModelPack, with a tag that has its name.

The manifest is pushed when all of its files are there, so that an artifact is whole or absent. Its annotation
OWNER has what `latest.json` has elsewhere, and the tag `latest` moves to it last. Registries know no
conditional write: of two finetunes that begin with one empty repository in the same second, both may publish.
"""

import json
import logging
import tempfile
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from finetune_api.uris import OciTarget
from finetune_trainer.errors import InvalidSpec, NoAccess
from finetune_trainer.publishing.contents import model_files
from finetune_trainer.publishing.store import REPORT
from finetune_trainer.sources.artifacts import Manifest
from finetune_trainer.sources.registries import Repository
from finetune_trainer.sources.transfers import count_nothing
from finetune_trainer.storage import storage_errors

logger = logging.getLogger(__name__)

LATEST_TAG = "latest"
OWNER = "dev.embeddings.finetune"
"""Annotation: {uri, digest, namespace, name, uid, run} as JSON."""


@dataclass(frozen=True)
class ArtifactStore:
    """work: scratch space of this machine."""

    target: OciTarget
    repository: Repository
    work: Path

    @property
    def uri(self) -> str:
        return f"oci://{self.target.registry}/{self.target.repository}"

    def errors(self, doing: str) -> AbstractContextManager[None]:
        """Of this machine's disk; the registry tells its own."""
        return storage_errors(f"{doing} {self.uri}")

    def names(self) -> list[str]:
        return self.repository.tags()

    def read_latest(self) -> bytes | None:
        """As the annotation has it; a `latest` without one is somebody else's."""
        manifest = self.repository.manifest(LATEST_TAG)
        return None if manifest is None else manifest.annotations.get(OWNER, "{}").encode()

    def read_report(self, name: str) -> bytes | None:
        manifest = self.repository.manifest(name)
        report = (
            next((layer for layer in manifest.layers if layer.name == REPORT), None) if manifest else None
        )
        if report is None:
            return None
        self.work.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.work) as folder:
            self.repository.fetch(report, Path(folder) / REPORT, on_bytes=count_nothing)
            return (Path(folder) / REPORT).read_bytes()

    def uri_of(self, name: str) -> str:
        return f"{self.uri}:{name}"

    def pinned_uri(self, name: str) -> str:
        return f"{self.uri}@{self._manifest(name).digest}"

    def prepare(self) -> None:
        """What was not finished has no manifest, and is for the registry to collect."""
        self.repository.require_writable()

    def write(self, name: str, model: Path, files: Mapping[str, bytes], *, latest: bytes) -> None:
        self.repository.push(
            {**model_files(model), **files},
            tag=name,
            annotations={OWNER: latest.decode(), "org.opencontainers.image.version": name},
            descriptor={"name": self.target.repository.rpartition("/")[2], "version": name},
        )

    def write_latest(self, content: bytes, *, replace: bool) -> None:
        if not replace and self.repository.manifest(LATEST_TAG) is not None:
            raise FileExistsError(LATEST_TAG)
        name = str(json.loads(content)["uri"]).rpartition(":")[2]
        self.repository.tag(self._manifest(name).digest, LATEST_TAG)

    def remove(self, name: str) -> None:
        try:
            self.repository.delete(self._manifest(name).digest)
        except (InvalidSpec, NoAccess) as error:
            # Many registries leave deleting to rules of their own; what is published stands all the same.
            logger.warning("%s:%s stays, since the registry does not delete it: %s", self.uri, name, error)

    def folder(self, name: str) -> Path | None:  # noqa: ARG002 - never on this machine
        return None

    def fetch(self, name: str, into: Path) -> Path:
        self.repository.pull(self._manifest(name), into, wanted=lambda _name: True, on_bytes=count_nothing)
        return into

    def _manifest(self, name: str) -> Manifest:
        manifest = self.repository.manifest(name)
        if manifest is None:
            raise InvalidSpec("ArtifactMissing", f"{self.uri}:{name} does not exist", "restore that tag")
        return manifest
