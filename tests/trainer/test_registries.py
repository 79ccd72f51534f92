import base64
import io
import json
import tarfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest
from typing_extensions import override

from finetune_api.uris import OciTarget, OciUri
from finetune_trainer.errors import InvalidData, InvalidSpec, NoAccess, SourceUnavailable
from finetune_trainer.sources import archives
from finetune_trainer.sources.artifacts import FILE_PATH, MANIFEST_TYPE, Manifest, parse_manifest
from finetune_trainer.sources.registries import Repository, open_repository
from finetune_trainer.sources.registry_client import RegistryClient, read_credentials
from tests.trainer.servers.faults import Fault, Faults, running_faults
from tests.trainer.servers.programs import write_secret
from tests.trainer.servers.registry import PASSWORD, Registry

MODEL = {"model.safetensors": b"weights" * 1000, "1_Pooling/config.json": b"{}", "README.md": b"# Model"}


def every(_name: str) -> bool:
    return True


def ignore(_bytes: int) -> None:
    """Progress that nobody wants."""


@pytest.fixture
def repository(registry: Registry, tmp_path: Path) -> Repository:
    return opened(registry.host, registry, tmp_path)


def opened(host: str, registry: Registry, folder: Path, **keys: str) -> Repository:
    """A repository of the test's own."""
    secret = write_secret(folder / "docker", registry.keys(host=host, **keys))
    name = folder.name.lower().replace("_", "-").strip("-0123456789")
    return open_repository(OciTarget(host, f"team/{name}"), secret)


def pushed(repository: Repository, files: dict[str, bytes] = MODEL) -> Manifest:
    manifest = repository.manifest(repository.push(files, tag="1-abc"))
    assert manifest is not None
    return manifest


# What publishing and fetching do with a registry


def test_a_folder_that_is_pushed_comes_back_by_its_digest(repository: Repository, tmp_path: Path) -> None:
    source = tmp_path / "model.safetensors"
    source.write_bytes(MODEL["model.safetensors"])
    digest = repository.push({**MODEL, "model.safetensors": source, "empty.txt": b""}, tag="1-abc")
    manifest = repository.manifest(digest)
    assert manifest is not None
    names = repository.pull(manifest, tmp_path / "here", wanted=every, on_bytes=ignore)
    files = {n: (tmp_path / "here" / n).read_bytes() for n in names}
    assert files == {**MODEL, "empty.txt": b""}


def test_an_artifact_is_a_model_pack(repository: Repository) -> None:
    digest = repository.push(MODEL, tag="1-abc", descriptor={"name": "vdr"}, annotations={"a": "b"})
    content = repository._manifest_bytes(digest)
    assert content is not None
    manifest = json.loads(content)
    assert manifest["artifactType"] == "application/vnd.cncf.model.manifest.v1+json"
    assert manifest["config"]["mediaType"] == "application/vnd.cncf.model.config.v1+json"
    assert {layer["annotations"][FILE_PATH]: layer["mediaType"] for layer in manifest["layers"]} == {
        "model.safetensors": "application/vnd.cncf.model.weight.v1.raw",
        "1_Pooling/config.json": "application/vnd.cncf.model.weight.config.v1.raw",
        "README.md": "application/vnd.cncf.model.doc.v1.raw",
    }
    assert manifest["annotations"] == {"a": "b"}


def test_equal_files_make_an_equal_artifact(repository: Repository) -> None:
    assert repository.push(MODEL, tag="one") == repository.push(MODEL, tag="two")


def test_tags_name_artifacts_and_move(repository: Repository) -> None:
    assert repository.tags() == []
    first, second = repository.push(MODEL, tag="1"), repository.push({"a.json": b"{}"}, tag="2")
    repository.tag(first, "latest")
    repository.tag(second, "latest")
    latest = repository.manifest("latest")
    assert latest is not None
    assert latest.digest == second
    assert sorted(repository.tags()) == ["1", "2", "latest"]
    assert repository.manifest("3") is None


def test_a_deleted_artifact_is_gone_and_may_be_deleted_again(repository: Repository) -> None:
    manifest = pushed(repository)
    repository.delete(manifest.digest)
    repository.delete(manifest.digest)
    assert repository.manifest(manifest.digest) is None


def test_a_small_file_is_read_without_the_rest(repository: Repository) -> None:
    manifest = pushed(repository)
    assert {layer.name: repository.read(layer) for layer in manifest.layers} == MODEL


def test_only_what_is_wanted_is_fetched(repository: Repository, tmp_path: Path) -> None:
    manifest = pushed(repository, {"model.safetensors": b"x", "pytorch_model.bin": b"a pickle"})
    names = repository.pull(
        manifest, tmp_path / "here", wanted=lambda n: not n.endswith(".bin"), on_bytes=ignore
    )
    assert names == ["model.safetensors"]


# Credentials


def test_a_wrong_password_is_no_access_and_stands_in_no_message(registry: Registry, tmp_path: Path) -> None:
    repository = opened(registry.host, registry, tmp_path, password="a-wrong-word")
    with pytest.raises(NoAccess) as raised:
        repository.manifest("latest")
    assert raised.value.reason == "RegistryRefused"
    encoded = base64.b64encode(b"robot:a-wrong-word").decode()
    assert not [w for w in ("a-wrong-word", encoded) if w in f"{raised.value}{raised.value.hint}"]


def test_without_a_secret_a_private_registry_is_no_access(registry: Registry) -> None:
    with pytest.raises(NoAccess) as raised:
        open_repository(OciTarget(registry.host, "team/model"), None).tags()
    assert "secretRef" in raised.value.hint


@pytest.mark.parametrize(
    ("auths", "registry"),
    [
        ({"host:5000": {"auth": "d29yZA=="}}, "host:5000"),
        ({"https://host:5000": {"auth": "d29yZA=="}}, "host:5000"),
        ({"https://index.docker.io/v1/": {"auth": "d29yZA=="}}, "docker.io"),
    ],
)
def test_a_password_is_found_however_docker_writes_its_host(
    tmp_path: Path, auths: dict[str, object], registry: str
) -> None:
    secret = write_secret(tmp_path / "s", {".dockerconfigjson": json.dumps({"auths": auths})})
    assert read_credentials(secret, registry) == "d29yZA=="


def test_a_password_may_stand_beside_its_user(tmp_path: Path) -> None:
    auths = {"host": {"username": "robot", "password": "word"}}
    secret = write_secret(tmp_path / "s", {".dockerconfigjson": json.dumps({"auths": auths})})
    assert read_credentials(secret, "host") == base64.b64encode(b"robot:word").decode()


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"auths": {"other": {"auth": "eA=="}}}', '{"credHelpers": {"host": "x"}}']
)
def test_a_secret_without_a_password_for_the_registry_is_told(tmp_path: Path, content: str) -> None:
    secret = write_secret(tmp_path / "docker-keys", {".dockerconfigjson": content})
    with pytest.raises(NoAccess) as raised:
        read_credentials(secret, "host")
    assert "'docker-keys'" in raised.value.message


class TokenRegistry(BaseHTTPRequestHandler):
    """Asks for a token, as the registries of the clouds do."""

    seen: ClassVar[list[tuple[str, str | None]]]
    realm: ClassVar[str]

    def do_GET(self) -> None:
        authorization = self.headers["Authorization"]
        self.seen.append((self.path.partition("?")[0], authorization))
        if self.path.startswith("/token"):
            self._answer(200, json.dumps({"token": "short-lived"}).encode())
        elif authorization == "Bearer short-lived":
            self._answer(200, json.dumps({"layers": [], "mediaType": MANIFEST_TYPE}).encode())
        else:
            self._answer(401, b"")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        if status == 401:
            challenge = f'Bearer realm="{self.realm}",service="registry",scope="repository:team/model:pull"'
            self.send_header("WWW-Authenticate", challenge)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @override
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def token_registry() -> Iterator[tuple[str, type[TokenRegistry]]]:
    class Handler(TokenRegistry):
        seen: ClassVar[list[tuple[str, str | None]]] = []

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    Handler.realm = f"http://127.0.0.1:{server.server_port}/token"
    try:
        yield f"127.0.0.1:{server.server_port}", Handler
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("credentials", [None, "cm9ib3Q6d29yZA=="])
def test_a_registry_that_wants_a_token_gets_one(
    token_registry: tuple[str, type[TokenRegistry]], credentials: str | None
) -> None:
    host, handler = token_registry
    repository = Repository(RegistryClient(host, "team/model", credentials))
    assert repository.manifest("latest") is not None
    asked = f"Basic {credentials}" if credentials else None
    manifest = "/v2/team/model/manifests/latest"
    assert handler.seen == [(manifest, None), ("/token", asked), (manifest, "Bearer short-lived")]


@pytest.mark.parametrize("realm", ["http://169.254.169.254/token", "https://169.254.169.254/token"])
def test_a_registry_cannot_send_for_a_token_to_the_metadata_service(
    token_registry: tuple[str, type[TokenRegistry]], realm: str
) -> None:
    host, handler = token_registry
    handler.realm = realm
    with pytest.raises(InvalidSpec) as raised:
        Repository(RegistryClient(host, "team/model", "cm9ib3Q6d29yZA==")).manifest("latest")
    assert raised.value.reason in {"MetadataAddress", "NotHttps"}


def test_a_registry_elsewhere_is_asked_by_https(pauses: list[float]) -> None:
    assert RegistryClient("registry.example", "a", None).prefix == "https"
    assert RegistryClient("localhost:5000", "a", None).prefix == "http"


@pytest.mark.parametrize("host", ["169.254.169.254", "2852039166", "100.100.100.200"])
def test_the_metadata_service_is_no_registry(host: str) -> None:
    with pytest.raises(InvalidSpec) as raised:
        open_repository(OciTarget(host, "team/model"), None).manifest("latest")
    assert raised.value.reason == "MetadataAddress"


# Content that is not what it should be


def test_content_that_does_not_have_its_digest_is_refused(
    registry: Registry, repository: Repository, tmp_path: Path
) -> None:
    manifest = pushed(repository, {"a.json": b'{"a": 1}'})
    digest = manifest.layers[0].digest.removeprefix("sha256:")
    (blob,) = registry.root.glob(f"docker/registry/v2/blobs/sha256/*/{digest}/data")
    blob.write_bytes(b'{"a": 2}')
    with pytest.raises(InvalidSpec) as raised:
        repository.pull(manifest, tmp_path / "here", wanted=every, on_bytes=ignore)
    assert raised.value.reason == "DigestMismatch"
    assert not list((tmp_path / "here").iterdir())
    with pytest.raises(InvalidSpec):
        repository.read(manifest.layers[0])


def test_a_manifest_of_another_digest_is_refused(
    token_registry: tuple[str, type[TokenRegistry]],
) -> None:
    with pytest.raises(InvalidSpec) as raised:
        Repository(RegistryClient(token_registry[0], "team/model", None)).manifest(f"sha256:{'0' * 64}")
    assert raised.value.reason == "DigestMismatch"


def layer(name: str | None, kind: str = "application/octet-stream") -> dict[str, object]:
    annotations = {} if name is None else {FILE_PATH: name}
    return {"mediaType": kind, "digest": f"sha256:{'0' * 64}", "size": 1, "annotations": annotations}


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        ({"layers": [layer("../../etc/passwd")]}, "UnsafeName"),
        ({"layers": [layer("/etc/passwd")]}, "UnsafeName"),
        ({"layers": [layer("a/./b")]}, "UnsafeName"),
        ({"layers": [layer("a\\..\\b")]}, "UnsafeName"),
        ({"layers": [layer("a\nb")]}, "UnsafeName"),
        ({"layers": [layer(None)]}, "UnknownLayer"),
        ({"layers": [layer("a", "application/vnd.cncf.model.weight.v1.tar+zstd")]}, "UnknownLayer"),
        ({"manifests": []}, "NotAnArtifact"),
        ([], "NotAnArtifact"),
        ({"layers": [{"mediaType": "a", "size": "many"}]}, "NotAnArtifact"),
    ],
)
def test_a_manifest_that_cannot_be_taken_is_told(manifest: object, reason: str) -> None:
    with pytest.raises(InvalidData) as raised:
        parse_manifest(json.dumps(manifest).encode(), "sha256:0", where="oci://host/a")
    assert raised.value.reason == reason


def archive(*members: tuple[tarfile.TarInfo, bytes], mode: str = "w") -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=mode) as tar:  # type: ignore[call-overload]
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return content.getvalue()


def plain(name: str, data: bytes = b"x") -> tuple[tarfile.TarInfo, bytes]:
    return tarfile.TarInfo(name), data


def link(name: str, target: str, kind: bytes) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info, b""


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_archives_of_other_tools_are_unpacked(repository: Repository, tmp_path: Path, mode: str) -> None:
    content = archive(
        plain("./config.json", b"{}"), plain("sub/model.safetensors"), plain("a.bin"), mode=mode
    )
    kind = "application/vnd.cncf.model.weight.v1.tar" + ("+gzip" if mode == "w:gz" else "")
    pushed(repository, {"layer": content})
    blob = repository._push_bytes(content, kind)
    manifest = parse_manifest(
        json.dumps({"layers": [{**blob, "annotations": {}}]}).encode(), "sha256:0", where="here"
    )
    names = repository.pull(
        manifest, tmp_path / "here", wanted=lambda n: not n.endswith(".bin"), on_bytes=ignore
    )
    assert names == ["config.json", "sub/model.safetensors"]
    found = {
        p.relative_to(tmp_path / "here").as_posix() for p in (tmp_path / "here").rglob("*") if p.is_file()
    }
    assert found == set(names)


@pytest.mark.parametrize(
    ("member", "reason"),
    [
        (plain("../escaped"), "UnsafeName"),
        (plain("a/../../escaped"), "UnsafeName"),
        (plain("/etc/escaped"), "UnsafeName"),
        (link("link", "/etc/passwd", tarfile.SYMTYPE), "UnsafeArchive"),
        (link("link", "../../other", tarfile.LNKTYPE), "UnsafeArchive"),
        (link("device", "", tarfile.CHRTYPE), "UnsafeArchive"),
        (link("pipe", "", tarfile.FIFOTYPE), "UnsafeArchive"),
    ],
)
def test_an_archive_cannot_write_outside_its_folder(
    tmp_path: Path, member: tuple[tarfile.TarInfo, bytes], reason: str
) -> None:
    path = tmp_path / "layer.tar"
    path.write_bytes(archive(member))
    with pytest.raises(InvalidData) as raised:
        archives.unpack(path, tmp_path / "here", where="oci://host/a", wanted=every)
    assert raised.value.reason == reason
    assert not (tmp_path / "here").exists()


def test_an_archive_that_unpacks_to_far_more_than_itself_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "FREE_BYTES", 1000)
    path = tmp_path / "bomb.tar.gz"
    path.write_bytes(archive(plain("zeros", bytes(10**6)), mode="w:gz"))
    with pytest.raises(InvalidData) as raised:
        archives.unpack(path, tmp_path / "here", where="oci://host/a", wanted=every)
    assert raised.value.reason == "TooLarge"


@pytest.mark.parametrize("content", [b"", b"no archive", archive(plain("a", b"x" * 2000), mode="w:gz")[:60]])
def test_a_broken_archive_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "layer.tar"
    path.write_bytes(content)
    with pytest.raises(InvalidData) as raised:
        archives.unpack(path, tmp_path / "here", where="oci://host/a", wanted=every)
    assert raised.value.reason == "BrokenArchive"


# A network that fails, and comes back


@pytest.fixture
def faults(registry: Registry) -> Iterator[Faults]:
    with running_faults(f"http://{registry.host}") as faults:
        yield faults


@pytest.fixture
def far(registry: Registry, faults: Faults, tmp_path: Path, pauses: list[float]) -> Repository:
    """The repository behind the proxy."""
    return opened(faults.host, registry, tmp_path)


def test_a_layer_that_breaks_off_goes_on_where_it_was(
    far: Repository, faults: Faults, tmp_path: Path, pauses: list[float]
) -> None:
    content = bytes(range(256)) * 2000
    manifest = pushed(far, {"a.safetensors": content})
    faults.coming.extend([Fault(cut_after=300_000), Fault(cut_after=100_000)])
    told: list[int] = []
    far.pull(manifest, tmp_path / "here", wanted=every, on_bytes=told.append)
    assert (tmp_path / "here/a.safetensors").read_bytes() == content
    assert len(pauses) == 2
    assert sum(told) == len(content)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_registry_that_recovers_is_asked_again(
    far: Repository, faults: Faults, pauses: list[float], status: int
) -> None:
    digest = far.push(MODEL, tag="1")
    faults.coming.extend([Fault(status, {"Retry-After": "9"}), Fault(status)])
    assert far.manifest(digest) is not None
    assert pauses == [9, 2]


@pytest.mark.parametrize("status", [429, 502])
def test_a_registry_that_does_not_recover_is_unavailable(
    far: Repository, faults: Faults, status: int
) -> None:
    faults.always = Fault(status)
    with pytest.raises(SourceUnavailable) as raised:
        far.tags()
    assert f"status {status}" in raised.value.message
    assert len(faults.requests) == 5


def test_a_push_goes_on_after_a_failure(far: Repository, faults: Faults, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(MODEL["model.safetensors"])
    far.tags()
    faults.coming.extend([Fault(), Fault(), Fault(503), Fault(), Fault(500)])
    digest = far.push({"model.safetensors": path}, tag="1")
    manifest = far.manifest(digest)
    assert manifest is not None
    assert far.read(manifest.layers[0]) == MODEL["model.safetensors"]


def test_a_registry_that_stalls_is_asked_again(
    registry: Registry, faults: Faults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    monkeypatch.setattr("finetune_trainer.sources.registry_client.READ_SECONDS", 0.2)
    repository = opened(faults.host, registry, tmp_path)
    faults.coming.append(Fault(stall=True))
    assert repository.manifest("latest") is None
    assert pauses == [1]


def test_a_registry_that_is_not_there_is_unavailable(registry: Registry, pauses: list[float]) -> None:
    with running_faults(f"http://{registry.host}") as gone:
        pass
    with pytest.raises(SourceUnavailable) as raised:
        open_repository(OciUri(gone.host, "team/model", "sha256:0"), None).manifest("latest")
    assert "did not answer" in raised.value.message
    assert PASSWORD not in str(raised.value)
