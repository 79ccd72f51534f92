import hashlib
import os
import socket
import ssl
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from typing_extensions import override

from finetune_trainer.errors import InvalidData, InvalidSpec, NoAccess, SourceUnavailable, TrainerError
from finetune_trainer.places import Places
from finetune_trainer.sources import downloads
from finetune_trainer.sources.downloads import download, public_url
from finetune_trainer.sources.splits import TABLE_SUFFIXES
from tests.trainer.servers.certificates import write_certificate

TABLE = b"q,p\na,b\n"


class Site(BaseHTTPRequestHandler):
    seen: list[tuple[str, str | None, str | None]]

    busy = 0
    cuts = 0

    def do_GET(self) -> None:
        self.seen.append((self.path, self.headers["Host"], self.headers["Authorization"]))
        if "/etag/" in self.path:
            return self._answer_with_etag()
        if self.path.startswith("/busy/") and Site.busy > 0:
            Site.busy -= 1
            self.send_response(429)
            self.send_header("Retry-After", "11")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        status, _, rest = self.path.removeprefix("/").partition("/")
        if status == "to":
            self.send_response(302)
            self.send_header("Location", "https://" + rest if "." in rest.split("/")[0] else "/" + rest)
            self.end_headers()
            return None
        if status == "plain":
            self.send_response(302)
            self.send_header("Location", "http://example.org/train.csv")
            self.end_headers()
            return None
        cut = status == "cut"
        self.send_response(int(status) if status.isdigit() else 200)
        self.send_header("Content-Length", str(len(TABLE) + 100 * cut))
        self.end_headers()
        self.wfile.write(TABLE)
        return None

    def _answer_with_etag(self) -> None:
        """With an ETag, and in two halves where the first is cut."""
        kind = type(self)
        if self.headers["If-None-Match"] == '"one"':
            self.send_response(304)
            self.end_headers()
            return
        start = 0
        if self.headers["If-Range"] == '"one"':
            start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if start else 200)
        self.send_header("ETag", '"one"')
        self.send_header("Content-Length", str(len(TABLE) - start))
        self.end_headers()
        if "/cut/" in self.path and kind.cuts == 0:
            kind.cuts += 1
            self.wfile.write(TABLE[:3])
        else:
            self.wfile.write(TABLE[start:])

    @override
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, pauses: list[float]) -> None:
    for name in [n for n in os.environ if n.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Base URL of a site on this machine, whose certificate is trusted."""
    pem = write_certificate(tmp_path, ["localhost"], ["127.0.0.1"])
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    handler = type("Handler", (Site,), {"seen": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    Site.seen = handler.seen  # type: ignore[attr-defined]
    try:
        yield f"https://localhost:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path, tmp_path, tmp_path / "work", private_addresses=True)


def fetch(url: str, places: Places, token: str | None = None, max_bytes: int = 1000) -> tuple[Path, str]:
    return download(url, places, token=token, suffixes=TABLE_SUFFIXES, max_bytes=max_bytes)


def test_a_file_comes_whole_with_its_digest(site: str, places: Places) -> None:
    path, digest = fetch(f"{site}/data/train.csv?signature=abc", places)
    assert path.read_bytes() == TABLE
    assert path.suffix == ".csv"
    assert digest.startswith("sha256:")
    assert [p.name for p in path.parent.iterdir()] == ["table.csv"]


def test_the_token_goes_along_but_never_to_another_host(site: str, places: Places) -> None:
    port = site.rpartition(":")[2]
    fetch(f"{site}/to/127.0.0.1:{port}/data/train.csv", places, token="secret")
    assert [authorization for _, _, authorization in Site.seen] == ["Bearer secret", None]


def test_redirects_on_the_same_host_are_followed(site: str, places: Places) -> None:
    assert fetch(f"{site}/to/to/data/train.csv", places)[0].read_bytes() == TABLE


def test_endless_redirects_end(site: str, places: Places) -> None:
    with pytest.raises(InvalidSpec, match="redirects more than"):
        fetch(site + "/to" * 8 + "/train.csv", places)


def test_a_redirect_to_plain_http_is_refused(site: str, places: Places) -> None:
    with pytest.raises(InvalidSpec) as raised:
        fetch(f"{site}/plain/train.csv", places)
    assert raised.value.reason == "NotHttps"


@pytest.mark.parametrize(
    ("status", "error", "reason"),
    [
        (401, NoAccess, "HostRefused"),
        (403, NoAccess, "HostRefused"),
        (404, InvalidSpec, "FileMissing"),
        (429, SourceUnavailable, "HostUnavailable"),
        (500, SourceUnavailable, "HostUnavailable"),
        (503, SourceUnavailable, "HostUnavailable"),
    ],
)
def test_statuses_become_errors_without_the_query(
    site: str, places: Places, status: int, error: type[TrainerError], reason: str
) -> None:
    with pytest.raises(error) as raised:
        fetch(f"{site}/{status}/train.csv?signature=abc", places)
    assert raised.value.reason == reason
    assert f"/{status}/train.csv" in raised.value.message
    assert "abc" not in str(raised.value)


def test_a_download_that_breaks_off_leaves_nothing(site: str, places: Places) -> None:
    with pytest.raises(SourceUnavailable):
        fetch(f"{site}/cut/train.csv", places)
    assert not [p for p in places.work.rglob("*") if p.is_file()]


def test_a_download_that_breaks_off_goes_on_where_it_was(
    site: str, places: Places, pauses: list[float]
) -> None:
    path, digest = fetch(f"{site}/etag/cut/train.csv", places)
    assert path.read_bytes() == TABLE
    assert digest == f"sha256:{hashlib.sha256(TABLE).hexdigest()}"
    assert len(pauses) == 1


def test_a_file_that_has_not_changed_does_not_come_again(site: str, places: Places) -> None:
    first = fetch(f"{site}/etag/train.csv", places)
    assert fetch(f"{site}/etag/train.csv", places) == first
    assert len(Site.seen) == 2


def test_a_file_in_the_cache_that_is_damaged_comes_again(site: str, places: Places) -> None:
    path, digest = fetch(f"{site}/etag/train.csv", places)
    path.write_bytes(b"q,p\na,c\n")
    again, digest_again = fetch(f"{site}/etag/train.csv", places)
    assert (again.read_bytes(), digest_again) == (TABLE, digest)


def test_a_host_that_asks_for_time_gets_it(site: str, places: Places, pauses: list[float]) -> None:
    Site.busy = 1
    assert fetch(f"{site}/busy/train.csv", places)[0].read_bytes() == TABLE
    assert pauses == [11]


def test_a_host_that_stalls_is_unavailable(
    places: Places, monkeypatch: pytest.MonkeyPatch, pauses: list[float]
) -> None:
    monkeypatch.setattr(downloads, "CONNECT_SECONDS", 0.1)  # the handshake counts
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(SourceUnavailable):
        fetch(f"https://localhost:{silent.getsockname()[1]}/train.csv", places)
    assert len(pauses) == 4


def test_nothing_of_a_url_but_its_digest_is_put_down(site: str, places: Places) -> None:
    fetch(f"{site}/etag/train.csv?signature=abc", places)
    kept = [p for p in places.cache.rglob("*") if p.is_file()]
    assert not [p for p in kept if b"signature" in p.read_bytes() or "signature" in p.name]


def test_a_file_that_is_too_large_is_refused(site: str, places: Places) -> None:
    with pytest.raises(InvalidData) as raised:
        fetch(f"{site}/data/train.csv", places, max_bytes=4)
    assert raised.value.reason == "TooLarge"


def test_an_unknown_ending_is_refused_before_anything_is_asked(places: Places) -> None:
    with pytest.raises(InvalidData) as raised:
        fetch("https://nowhere.invalid/train.pickle", places)
    assert raised.value.reason == "UnknownFormat"


def test_a_name_that_does_not_resolve_may_do_so_later(places: Places) -> None:
    with pytest.raises(SourceUnavailable) as raised:
        fetch("https://nowhere.invalid/train.csv", places)
    assert raised.value.reason == "HostUnknown"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "0.0.0.0",  # noqa: S104
        "2130706433", "0x7f.1", "017700000001", "100.64.0.1", "224.0.0.1",
        "[::1]", "[fe80::1]", "[fd00::1]", "[::ffff:10.0.0.1]", "[64:ff9b::a00:1]", "[2002:a00:1::]",
    ],
)  # fmt: skip
def test_private_addresses_are_refused_in_every_spelling(tmp_path: Path, host: str) -> None:
    places = Places(tmp_path, tmp_path, tmp_path)
    with pytest.raises(InvalidSpec) as raised:
        fetch(f"https://{host}/train.csv", places)
    assert raised.value.reason == "PrivateAddress"


def test_a_redirect_to_a_private_address_is_refused(
    site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = Places(tmp_path, tmp_path, tmp_path)
    monkeypatch.setattr(downloads, "_is_public", lambda address: address == "127.0.0.1")
    with pytest.raises(InvalidSpec) as raised:
        fetch(f"{site}/to/169.254.169.254/train.csv", places)
    assert raised.value.reason == "PrivateAddress"
    assert "169.254.169.254" in raised.value.message


@pytest.mark.parametrize("host", ["user@localhost.example", "user:word@localhost.example"])
def test_a_redirect_to_a_url_with_a_user_is_refused(site: str, places: Places, host: str) -> None:
    with pytest.raises(InvalidSpec) as raised:
        fetch(f"{site}/to/{host}/train.csv", places)
    assert raised.value.reason == "UserInUrl"
    assert "word" not in str(raised.value)


def test_behind_a_proxy_written_out_private_addresses_are_still_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    places = Places(tmp_path, tmp_path, tmp_path)
    with pytest.raises(InvalidSpec):
        fetch("https://169.254.169.254/train.csv", places)
    with pytest.raises(SourceUnavailable) as raised:
        fetch("https://nowhere.invalid/train.csv", places)
    assert (
        raised.value.reason == "HostUnavailable"
    )  # asked the proxy, which is not there; nothing was resolved


def test_public_urls_have_neither_query_nor_credentials() -> None:
    assert public_url("https://user:pw@host:1/a/b.csv?sig=x#y") == "https://host:1/a/b.csv"
