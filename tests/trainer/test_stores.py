import errno
import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from typing_extensions import override

from finetune_api.uris import StoreUri
from finetune_trainer.errors import (
    InvalidData,
    InvalidSpec,
    NoAccess,
    SourceUnavailable,
    StorageFailed,
    TrainerError,
)
from finetune_trainer.sources import store_clients, stores
from finetune_trainer.sources.stores import Store, StoredObject, open_store
from tests.trainer.servers.faults import Fault, Faults, running_faults
from tests.trainer.servers.gcs import Gcs
from tests.trainer.servers.programs import write_secret
from tests.trainer.servers.s3 import S3, SECRET

FOLDER = StoreUri("s3", "bucket", "models/vdr")


def ignore(_bytes: int) -> None:
    """Progress that nobody wants."""


@pytest.fixture(autouse=True)
def no_credentials_of_whoever_runs_the_tests(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [n for n in os.environ if n.startswith(("AWS_", "GOOGLE_", "STORAGE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "none"))


@pytest.fixture(params=["s3", "gs"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """An empty folder of a bucket."""
    if request.param == "s3":
        s3: S3 = request.getfixturevalue("s3")
        return open_store(
            StoreUri("s3", s3.make(), "models/vdr"), write_secret(tmp_path / "secret", s3.keys())
        )
    gcs: Gcs = request.getfixturevalue("gcs")
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs.endpoint)
    return open_store(StoreUri("gs", gcs.make(), "models/vdr"), None)


# What publishing and fetching do with a store


def test_what_is_written_can_be_listed_and_read(store: Store, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    store.upload(tmp_path / "model.safetensors", "1-abc/model.safetensors")
    store.write("latest.json", b'{"run": 1}')
    assert [(o.key, o.size) for o in store.list()] == [("1-abc/model.safetensors", 7), ("latest.json", 10)]
    assert [o.key for o in store.list("1-abc")] == ["1-abc/model.safetensors"]
    assert store.read_json("latest.json") == {"run": 1}
    assert store.read("other.json") is None
    assert store.list("nothing") == []


def test_an_object_changes_its_tag_with_its_content(store: Store) -> None:
    store.write("a", b"one")
    (before,) = store.list()
    store.write("a", b"two")
    (after,) = store.list()
    assert before.tag != after.tag


def test_a_conditional_write_refuses_what_is_there(store: Store) -> None:
    store.write("latest.json", b"1", replace=False)
    with pytest.raises(FileExistsError):
        store.write("latest.json", b"2", replace=False)
    assert store.read("latest.json") == b"1"


def test_deleting_removes_what_is_named_and_passes_over_what_is_gone(store: Store) -> None:
    for key in ("1/a", "1/b", "10/a"):
        store.write(key, b"x")
    store.delete([o.key for o in store.list("1")])
    store.delete(["1/a"])
    assert [o.key for o in store.list()] == ["10/a"]


def test_large_objects_come_in_pieces_and_whole(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "PIECE_BYTES", 1000)
    content = bytes(range(256)) * 20
    store.write("a/large", content)
    store.write("a/empty", b"")
    told: list[int] = []
    store.download(store.list("a"), tmp_path, on_bytes=told.append)
    assert (tmp_path / "a/large").read_bytes() == content
    assert (tmp_path / "a/empty").read_bytes() == b""
    assert sum(told) == len(content)
    assert len(told) == 6


def test_a_small_object_that_is_large_is_not_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "SMALL_BYTES", 10)
    store.write("latest.json", b"x" * 11)
    with pytest.raises(InvalidData, match="at most 10 bytes"):
        store.read("latest.json")


def test_an_object_that_is_no_json_is_told(store: Store) -> None:
    store.write("latest.json", b"{")
    with pytest.raises(InvalidData) as raised:
        store.read_json("latest.json")
    assert raised.value.reason == "InvalidJson"


# What goes wrong


def test_a_bucket_that_is_not_there_is_named(store: Store) -> None:
    absent = open_store(StoreUri(store.uri.scheme, "no-such-bucket", "a"), None)
    absent._filesystem = store._filesystem
    with pytest.raises(InvalidSpec) as raised:
        absent.write("key", b"")
    assert raised.value.reason == "ObjectMissing"
    assert f"{store.uri.scheme}://no-such-bucket/a/key" in raised.value.message


@pytest.mark.parametrize("changes", [{"AWS_SECRET_ACCESS_KEY": "wrong"}, {"AWS_ACCESS_KEY_ID": "NOBODY"}])
def test_wrong_keys_are_no_access_and_stand_in_no_message(
    s3: S3, tmp_path: Path, changes: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    store = open_store(StoreUri("s3", s3.make(), ""), write_secret(tmp_path / "secret", s3.keys(**changes)))
    for operation in (store.list, lambda: store.write("a", b""), lambda: store.read("a")):
        with pytest.raises(NoAccess) as raised:
            operation()
        told = f"{raised.value}{raised.value.hint}{caplog.text}"
        assert raised.value.reason == "StoreRefused"
        assert not [word for word in (*changes.values(), SECRET) if word in told]


def test_a_bucket_that_is_not_public_is_no_access_without_a_secret(
    s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = StoreUri("s3", s3.make(), "")
    s3.put(folder.bucket, {"a": b"x"})
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.endpoint)
    with pytest.raises(NoAccess) as raised:
        open_store(folder, None).read("a")
    assert "secretRef" in raised.value.hint


def test_without_a_secret_the_clouds_own_credentials_are_taken(
    s3: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = StoreUri("s3", s3.make(), "")
    s3.put(folder.bucket, {"a": b"x"})
    for name, value in s3.keys().items():
        monkeypatch.setenv(name, value)
    assert open_store(folder, None).read("a") == b"x"


@pytest.mark.parametrize("missing", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_a_secret_without_a_key_is_named(s3: S3, tmp_path: Path, missing: str) -> None:
    secret = write_secret(tmp_path / "s3-keys", s3.keys())
    (secret / missing).unlink()
    with pytest.raises(NoAccess) as raised:
        open_store(FOLDER, secret)
    assert raised.value.message == f"key `{missing}` of Secret 's3-keys' could not be read"


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://169.254.169.254", "http://169.254.169.254:80/latest", "http://2852039166", "http://0xa9fea9fe",
        "http://0251.0376.0251.0376", "http://[fe80::1]", "http://[::ffff:169.254.169.254]",
        "http://[fd00:ec2::254]", "http://100.100.100.200",
    ],
)  # fmt: skip
def test_the_metadata_service_is_no_endpoint_in_any_spelling(s3: S3, tmp_path: Path, endpoint: str) -> None:
    secret = write_secret(tmp_path / "secret", s3.keys(AWS_ENDPOINT_URL=endpoint))
    with pytest.raises(InvalidSpec) as raised:
        open_store(FOLDER, secret)
    assert raised.value.reason == "MetadataAddress"


def test_a_name_that_resolves_to_the_metadata_service_is_not_connected_to(
    s3: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    async def resolve(*_: object) -> list[dict[str, object]]:
        return [{"host": "169.254.169.254", "port": 80}]

    monkeypatch.setattr("aiohttp.ThreadedResolver.resolve", resolve)
    secret = write_secret(tmp_path / "secret", s3.keys(AWS_ENDPOINT_URL="http://minio.example:9000"))
    with pytest.raises(InvalidSpec) as raised:
        open_store(FOLDER, secret).read("a")
    assert raised.value.reason == "MetadataAddress"


@pytest.mark.parametrize(
    "endpoint", ["ftp://host", "host:9000", "http://user:word@host", "file:///etc/passwd"]
)
def test_an_endpoint_that_is_no_url_of_a_server_is_refused(s3: S3, tmp_path: Path, endpoint: str) -> None:
    secret = write_secret(tmp_path / "secret", s3.keys(AWS_ENDPOINT_URL=endpoint))
    with pytest.raises(InvalidSpec) as raised:
        open_store(FOLDER, secret)
    assert raised.value.reason == "InvalidEndpoint"
    assert "word" not in str(raised.value)


@pytest.mark.parametrize(
    "content",
    [
        "no json",
        "[]",
        json.dumps({"type": "service_account"}),
        json.dumps({"type": "external_account", "credential_source": {"executable": {"command": "id"}}}),
        json.dumps({"type": "service_account", "token_uri": "https://oauth2.googleapis.com/token"}),
    ],
)
def test_credentials_that_are_no_service_account_are_no_access(tmp_path: Path, content: str) -> None:
    secret = write_secret(tmp_path / "gcs-key", {"credentials.json": content})
    with pytest.raises(TrainerError) as raised:
        open_store(StoreUri("gs", "bucket", ""), secret)
    assert raised.value.reason in {"InvalidCredentials", "InvalidEndpoint"}
    assert "'gcs-key'" in raised.value.message


@pytest.fixture
def account() -> dict[str, str]:
    """The key file of a service account, but for where it gets its tokens."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "type": "service_account",
        "client_email": "robot@example.iam.gserviceaccount.com",
        "private_key": private.decode(),
    }


@dataclass
class Tokens:
    """A server of tokens. status: of its answers."""

    url: str = ""
    status: int = 200
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def tokens() -> Iterator[Tokens]:
    tokens = Tokens()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            tokens.asked.append(self.path)
            body = json.dumps({"access_token": "short-lived", "expires_in": 3600}).encode()
            self.send_response(tokens.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        @override
        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        tokens.url = f"http://127.0.0.1:{server.server_port}/token"
        yield tokens
        server.shutdown()
        thread.join()


@pytest.fixture
def of_account(
    gcs: Gcs, account: dict[str, str], tokens: Tokens, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Store:
    """A store that is opened with the account's key."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs.endpoint)
    content = json.dumps({**account, "token_uri": tokens.url})
    secret = write_secret(tmp_path / "gcs-key", {"credentials.json": content})
    return open_store(StoreUri("gs", gcs.make(), ""), secret)


def test_a_service_account_gets_its_tokens_where_its_key_says(of_account: Store, tokens: Tokens) -> None:
    of_account.write("a", b"x")
    assert of_account.read("a") == b"x"
    assert set(tokens.asked) == {"/token"}


@pytest.mark.parametrize("status", [400, 401, 403])
def test_a_service_account_that_gets_no_token_is_no_access(
    of_account: Store, tokens: Tokens, status: int
) -> None:
    tokens.status = status
    with pytest.raises(NoAccess) as raised:
        of_account.write("a", b"x")
    assert "PRIVATE KEY" not in f"{raised.value}{raised.value.hint}"


@pytest.mark.parametrize("token_uri", ["http://169.254.169.254/token", "file:///etc/passwd"])
def test_a_service_account_cannot_send_for_its_tokens_to_the_metadata_service(
    account: dict[str, str], tmp_path: Path, token_uri: str
) -> None:
    content = json.dumps({**account, "token_uri": token_uri})
    secret = write_secret(tmp_path / "gcs-key", {"credentials.json": content})
    with pytest.raises(InvalidSpec):
        open_store(StoreUri("gs", "bucket", ""), secret)


def test_keys_that_leave_their_folder_are_refused(s3: S3, tmp_path: Path) -> None:
    class Hostile:
        def invalidate_cache(self) -> None: ...

        def find(self, path: str, **_: object) -> dict[str, dict[str, object]]:
            return {f"{path}/../../etc/passwd": {"type": "file", "size": 1, "ETag": "x"}}

    store = Store(Hostile(), FOLDER)
    with pytest.raises(InvalidData) as raised:
        store.list()
    assert raised.value.reason == "UnsafeName"


# A network that fails, and comes back


@pytest.fixture
def faults(s3: S3) -> Iterator[Faults]:
    with running_faults(s3.endpoint) as faults:
        yield faults


@pytest.fixture
def far(s3: S3, faults: Faults, tmp_path: Path, pauses: list[float]) -> Store:
    """The store behind the proxy."""
    secret = write_secret(tmp_path / "secret", s3.keys(AWS_ENDPOINT_URL=faults.url))
    return open_store(StoreUri("s3", s3.make(), "models/vdr"), secret)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_store_that_recovers_is_asked_again(
    far: Store, faults: Faults, pauses: list[float], status: int
) -> None:
    far.write("a", b"x")
    faults.coming.extend([Fault(status)] * 3)
    assert far.read("a") == b"x"
    assert pauses == [1, 2, 4]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_store_that_does_not_recover_is_unavailable_after_a_few_attempts(
    far: Store, faults: Faults, status: int
) -> None:
    faults.always = Fault(status)
    with pytest.raises(SourceUnavailable) as raised:
        far.list()
    assert f"status {status}" in raised.value.message
    assert len(faults.requests) == 5


def test_a_store_that_always_points_elsewhere_is_told(
    far: Store, faults: Faults, pauses: list[float]
) -> None:
    faults.always = Fault(301)
    with pytest.raises(InvalidSpec) as raised:
        far.list()
    assert raised.value.reason == "WrongRegion"
    assert pauses == []


def test_a_store_that_asks_for_time_gets_it(far: Store, faults: Faults, pauses: list[float]) -> None:
    far.write("a", b"x")
    faults.coming.append(Fault(429, {"Retry-After": "17"}))
    assert far.read("a") == b"x"
    assert pauses == [17]


def test_a_store_that_asks_for_an_hour_is_left_at_once(
    far: Store, faults: Faults, pauses: list[float]
) -> None:
    faults.always = Fault(503, {"Retry-After": "3600"})
    with pytest.raises(SourceUnavailable):
        far.list()
    assert pauses == []


def test_a_download_that_breaks_off_goes_on_with_that_piece(
    far: Store, faults: Faults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "PIECE_BYTES", 1000)
    monkeypatch.setattr(stores, "PIECES_AT_ONCE", 1)
    content = bytes(range(256)) * 20
    far.write("a", content)
    found = far.list()
    faults.requests.clear()
    faults.coming.extend([Fault(), Fault(cut_after=500), Fault(cut_after=0), Fault()])
    far.download(found, tmp_path / "here", on_bytes=ignore)
    assert (tmp_path / "here/a").read_bytes() == content
    assert len(faults.requests) == 6 + 2


def test_a_store_that_stalls_is_asked_again(
    s3: S3, faults: Faults, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    monkeypatch.setattr(store_clients, "READ_SECONDS", 0.2)
    secret = write_secret(tmp_path / "secret", s3.keys(AWS_ENDPOINT_URL=faults.url))
    store = open_store(StoreUri("s3", s3.make(), ""), secret)
    faults.coming.append(Fault(stall=True))
    assert store.list() == []
    assert pauses == [1]


def test_a_store_that_is_not_there_is_unavailable(s3: S3, tmp_path: Path, pauses: list[float]) -> None:
    with running_faults(s3.endpoint) as gone:
        pass
    store = open_store(FOLDER, write_secret(tmp_path / "secret", s3.keys(AWS_ENDPOINT_URL=gone.url)))
    with pytest.raises(SourceUnavailable) as raised:
        store.list()
    assert "did not answer" in raised.value.message
    assert len(pauses) == 4


def test_an_object_that_shrinks_while_it_is_fetched_is_not_taken(
    store: Store, tmp_path: Path, pauses: list[float]
) -> None:
    store.write("a", b"short")
    with pytest.raises(SourceUnavailable):
        store.download([StoredObject("a", 100, "")], tmp_path / "here", on_bytes=ignore)


def test_a_full_disk_is_told_as_such(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store.write("a", b"x")
    monkeypatch.setattr("os.pwrite", full)
    with pytest.raises(StorageFailed) as raised:
        store.download(store.list(), tmp_path / "here", on_bytes=ignore)
    assert "ENOSPC" in raised.value.message
