"""OCI artifacts of files: pulled into a folder, and pushed from one as the CNCF's ModelPack has them.

Nothing is believed that does not have the digest it was asked for by.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import oras.utils
import requests

from finetune_api.uris import OciTarget, OciUri
from finetune_trainer.errors import InvalidData, InvalidSpec, SourceUnavailable, TrainerError
from finetune_trainer.sources.archives import unpack
from finetune_trainer.sources.artifacts import (
    CONFIG_TYPE,
    FILE_PATH,
    MANIFEST_TYPE,
    TITLE,
    Descriptor,
    Layer,
    Manifest,
    config_bytes,
    manifest_bytes,
    media_type_of,
    parse_manifest,
)
from finetune_trainer.sources.registry_client import RegistryClient, read_credentials
from finetune_trainer.sources.retries import retried
from finetune_trainer.sources.stores import OnBytes
from finetune_trainer.storage import storage_errors

SMALL_BYTES = 4 * 2**20
"""Of manifests, and of files that are read whole."""
_CHUNK_BYTES = 1 << 20

Files = Mapping[str, Path | bytes]
"""Name in the artifact, with / between folders -> file or content."""


def open_repository(uri: OciUri | OciTarget, secret: Path | None) -> "Repository":
    """A repository with the credentials of a Secret's folder, or none. Nothing is asked of it yet."""
    credentials = read_credentials(secret, uri.registry)
    return Repository(RegistryClient(uri.registry, uri.repository, credentials))


class Repository:
    """The artifacts of one repository. Every operation is tried again as `retries` says."""

    def __init__(self, client: RegistryClient) -> None:
        self._client = client
        self.name = client.name

    def manifest(self, reference: str) -> Manifest | None:
        """The manifest of a digest or a tag, None when there is none.

        Raises InvalidSpec when it has another digest than it was asked for by.
        """
        content = retried(lambda: self._manifest_bytes(reference))
        if content is None:
            return None
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        if reference.startswith("sha256:") and digest != reference:
            raise self._mismatch(reference, digest)
        return parse_manifest(content, digest, where=f"{self.name}@{digest}")

    def pull(
        self, manifest: Manifest, folder: Path, *, wanted: Callable[[str], bool], on_bytes: OnBytes
    ) -> list[str]:
        """Bring the wanted files below the folder, and give their names."""
        names: list[str] = []
        for layer in manifest.layers:
            if layer.name is None:
                names += self._unpack(layer, folder, wanted=wanted, on_bytes=on_bytes)
            elif wanted(layer.name):
                self.fetch(layer, folder / layer.name, on_bytes=on_bytes)
                names.append(layer.name)
        return names

    def read(self, layer: Layer) -> bytes:
        """The content of a small layer. Raises InvalidData above SMALL_BYTES."""
        if layer.size > SMALL_BYTES:
            raise InvalidData("TooLarge", f"{self.name}: {layer.name} must have at most {SMALL_BYTES} bytes")
        url = self._url(self._client.repository.get_blob_url(layer.digest))
        content = retried(lambda: self._whole(self._client.do_request(url, stream=True)))
        if content is None or f"sha256:{hashlib.sha256(content).hexdigest()}" != layer.digest:
            raise self._mismatch(layer.digest, "another content")
        return content

    def fetch(self, layer: Layer, target: Path, *, on_bytes: OnBytes) -> None:
        """Bring one layer as a file; what breaks off goes on from where it was."""
        with storage_errors(self.name):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            target.touch()
        retried(lambda: self._fetch_rest(layer, target, on_bytes))
        if (found := content_digest_of(target)) != layer.digest:
            target.unlink()
            raise self._mismatch(layer.digest, found)

    def push(
        self,
        files: Files,
        *,
        tag: str,
        annotations: Mapping[str, str] = {},
        descriptor: Mapping[str, Any] = {},
    ) -> str:
        """Push files as one artifact, and give the digest of its manifest, which appears last.

        descriptor: of the ModelPack configuration: name, version, licenses and the like.
        """
        layers = [self._push_file(name, content) for name, content in sorted(files.items())]
        config = self._push_bytes(config_bytes(layers, descriptor), CONFIG_TYPE)
        return self._put_manifest(manifest_bytes(config, layers, annotations), tag)

    def tag(self, digest: str, tag: str) -> None:
        """Let a tag name an artifact that is there already."""
        content = retried(lambda: self._manifest_bytes(digest))
        if content is None:
            raise InvalidSpec("ArtifactMissing", f"{self.name}@{digest} does not exist")
        self._put_manifest(content, tag)

    def tags(self) -> list[str]:
        """Every tag of the repository; none when there is no such repository yet."""
        found: list[str] = retried(lambda: self._client.get_tags(self._client.repository))
        return found

    def delete(self, digest: str) -> None:
        """Remove an artifact with all of its tags; one that is not there is passed over."""
        url = self._url(self._client.repository.manifest_url(digest))
        retried(lambda: self._client.do_request(url, "DELETE"))

    def require_writable(self) -> None:
        """Raises NoAccess or InvalidSpec unless it may be pushed to: an upload is begun and given up."""
        client = self._client
        opened = retried(lambda: client.do_request(self._url(client.repository.upload_blob_url()), "POST"))
        location = client._get_location(opened, client.repository)  # noqa: SLF001 - made absolute
        if opened.status_code == requests.codes.not_found or not location:
            raise InvalidSpec("RepositoryMissing", f"{self.name} does not exist, and cannot be made")
        with suppress(TrainerError):  # some registries know no end but their own
            client.do_request(location, "DELETE")

    def _url(self, path: str) -> str:
        return f"{self._client.prefix}://{path}"

    def _manifest_bytes(self, reference: str) -> bytes | None:
        url = self._url(self._client.repository.manifest_url(reference))
        return self._whole(self._client.do_request(url, headers={"Accept": MANIFEST_TYPE}, stream=True))

    def _whole(self, response: requests.Response) -> bytes | None:
        """The content of an answer, None for status 404. Raises InvalidData above SMALL_BYTES."""
        content = bytearray()
        with response:
            if response.status_code == requests.codes.not_found:
                return None
            for chunk in self._chunks(response):
                content += chunk
                if len(content) > SMALL_BYTES:
                    raise InvalidData("TooLarge", f"{self.name} gives more than {SMALL_BYTES} bytes")
        return bytes(content)

    def _fetch_rest(self, layer: Layer, target: Path, on_bytes: OnBytes) -> None:
        have = target.stat().st_size
        if have == layer.size:
            return
        url = self._url(self._client.repository.get_blob_url(layer.digest))
        headers = {"Range": f"bytes={have}-"} if have else {}
        with self._client.do_request(url, headers=headers, stream=True) as response:
            if response.status_code == requests.codes.not_found:
                raise InvalidSpec("ArtifactIncomplete", f"{self.name} lacks the layer {layer.digest}")
            goes_on = response.status_code == requests.codes.partial_content
            with storage_errors(self.name), target.open("ab" if goes_on else "wb") as file:
                size = have if goes_on else 0
                for chunk in self._chunks(response):
                    size += len(chunk)
                    if size > layer.size:
                        raise self._mismatch(layer.digest, f"more than its {layer.size} bytes")
                    file.write(chunk)
                    on_bytes(len(chunk))
        if size < layer.size:
            raise self._broken_off(EOFError())

    def _chunks(self, response: requests.Response) -> Iterator[bytes]:
        try:
            yield from response.iter_content(_CHUNK_BYTES)
        except requests.RequestException as error:
            raise self._broken_off(error) from error

    def _unpack(
        self, layer: Layer, folder: Path, *, wanted: Callable[[str], bool], on_bytes: OnBytes
    ) -> list[str]:
        archive = folder / f".{layer.digest.removeprefix('sha256:')}.tar"
        try:
            self.fetch(layer, archive, on_bytes=on_bytes)
            return unpack(archive, folder, where=f"{self.name} layer {layer.digest}", wanted=wanted)
        finally:
            archive.unlink(missing_ok=True)

    def _push_file(self, name: str, content: Path | bytes) -> dict[str, Any]:
        kind = media_type_of(name)
        pushed = (
            self._push_bytes(content, kind) if isinstance(content, bytes) else self._push_path(content, kind)
        )
        return {**pushed, "annotations": {FILE_PATH: name, TITLE: name}}

    def _push_bytes(self, content: bytes, media_type: str) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        descriptor = {"mediaType": media_type, "digest": digest, "size": len(content)}
        retried(lambda: self._push_blob(descriptor, content))
        return descriptor

    def _push_path(self, path: Path, media_type: str) -> dict[str, Any]:
        with storage_errors(self.name), path.open("rb") as file:
            size = path.stat().st_size
            descriptor = {"mediaType": media_type, "digest": content_digest_of(path), "size": size}
            # An empty file would be sent in chunks, which the protocol does not know here.
            retried(lambda: self._push_blob(descriptor, file if size else b""))
        return descriptor

    def _push_blob(self, descriptor: Descriptor, content: Any) -> None:
        client = self._client
        if client.blob_exists(descriptor, client.repository):
            return
        opened = client.do_request(self._url(client.repository.upload_blob_url()), "POST")
        location = client._get_location(opened, client.repository)  # noqa: SLF001 - made absolute
        if opened.status_code == requests.codes.not_found or not location:
            raise InvalidSpec("RepositoryMissing", f"{self.name} does not exist, and cannot be made")
        url = oras.utils.append_url_params(location, {"digest": descriptor["digest"]})
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(descriptor["size"])}
        client.do_request(url, "PUT", data=content, headers=headers)

    def _put_manifest(self, content: bytes, tag: str) -> str:
        url = self._url(self._client.repository.manifest_url(tag))
        headers = {"Content-Type": MANIFEST_TYPE}
        retried(lambda: self._client.do_request(url, "PUT", data=content, headers=headers))
        return f"sha256:{hashlib.sha256(content).hexdigest()}"

    def _mismatch(self, wanted: str, found: str) -> InvalidSpec:
        return InvalidSpec(
            "DigestMismatch",
            f"{self.name} must give the content of {wanted}, found {found}",
            "correct the digest in `uri`, or push the artifact again",
        )

    def _broken_off(self, error: Exception) -> SourceUnavailable:
        return SourceUnavailable(
            "RegistryUnavailable",
            f"{self.name}: the registry broke off ({type(error).__name__})",
            "another attempt may work",
        )


def content_digest_of(path: Path) -> str:
    """As `sha256sum` gives it."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
