"""The certificate authority and what it issues, up to a real TLS handshake."""

import asyncio
import base64
import ssl
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec

from finetune_operator import certificates
from finetune_operator.certificates import (
    AUTHORITY_LIFETIME,
    CERTIFICATE_KEY,
    KeyPair,
    MissingSecret,
    ensure_authority,
    hosts_of,
    issue,
    load_into,
    new_authority,
    parse_authority,
    rotating,
)
from finetune_operator.servers import serving
from tests.cluster.ports import reserve
from tests.operator.fake_kube import FakeKube

NOW = datetime.now(UTC)
EMPTY = {"kind": "Secret", "metadata": {"name": "ca", "namespace": "ops"}}


def a_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext, host: str) -> None:
    """In memory. Raises SSLError when they do not agree."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = client.wrap_bio(down, up, server_hostname=host)
    there = server.wrap_bio(up, down, server_side=True)
    for _ in range(4):
        for side in (here, there):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue


def contexts(authority: KeyPair, *hosts: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    load_into(server, issue(authority, hosts, NOW))
    client = ssl.create_default_context(cadata=authority.certificate_pem.decode())
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    return server, client


@pytest.mark.parametrize("host", ["reports.ops.svc", "127.0.0.1"])
def test_a_pod_that_knows_the_authority_trusts_the_server(host: str) -> None:
    server, client = contexts(new_authority(NOW, a_key()), host)
    shake_hands(server, client, host)


def test_another_host_is_not_trusted() -> None:
    server, client = contexts(new_authority(NOW, a_key()), "reports.ops.svc")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(server, client, "reports.team.svc")


def test_another_authority_is_not_trusted() -> None:
    server, _ = contexts(new_authority(NOW, a_key()), "reports.ops.svc")
    _, client = contexts(new_authority(NOW, a_key()), "reports.ops.svc")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(server, client, "reports.ops.svc")


def test_a_renewed_certificate_is_served_from_the_next_connection_on() -> None:
    authority = new_authority(NOW, a_key())
    server, client = contexts(authority, "old.svc")
    load_into(server, issue(authority, ("new.svc",), NOW))
    shake_hands(server, client, "new.svc")


def test_an_empty_secret_gets_an_authority_that_the_next_start_finds_again() -> None:
    kube = FakeKube()
    kube.add(EMPTY)
    first = ensure_authority(kube, "ops", "ca", NOW)  # type: ignore[arg-type]
    again = ensure_authority(kube, "ops", "ca", NOW)  # type: ignore[arg-type]
    assert again.certificate == first.certificate


def test_who_is_slower_takes_the_authority_of_who_was_faster() -> None:
    kube = FakeKube()
    kube.add(EMPTY)
    theirs: list[KeyPair] = []

    def be_faster(verb: str, _kind: str) -> None:
        if verb == "update" and not theirs:
            theirs.append(new_authority(NOW, a_key()))
            theirs[0] = ensure_authority(kube, "ops", "ca", NOW)  # type: ignore[arg-type]

    kube.before = be_faster
    ours = ensure_authority(kube, "ops", "ca", NOW)  # type: ignore[arg-type]
    assert ours.certificate == theirs[0].certificate


def test_a_missing_secret_says_how_to_make_it() -> None:
    with pytest.raises(MissingSecret, match="kubectl -n ops create secret generic ca"):
        ensure_authority(FakeKube(), "ops", "ca", NOW)  # type: ignore[arg-type]


def unusable() -> dict[str, tuple[bytes, bytes]]:
    """Certificate and key."""
    good, other, now = new_authority(NOW, a_key()), new_authority(NOW, a_key()), datetime.now(UTC)
    serving = issue(good, ("a.svc",), now)
    return {
        "empty": (b"", b""),
        "not PEM": (b"not a certificate", good.key_pem),
        "no key": (good.certificate_pem, b""),
        "another key": (good.certificate_pem, other.key_pem),
        "no authority": (serving.certificate_pem, serving.key_pem),
    }


@pytest.mark.parametrize("which", ["empty", "not PEM", "no key", "another key", "no authority"])
def test_an_authority_that_cannot_be_used_is_told_and_replaced(
    which: str, caplog: pytest.LogCaptureFixture
) -> None:
    kube = FakeKube()
    certificate, key = (base64.b64encode(part).decode() for part in unusable()[which])
    kube.add({**EMPTY, "data": {CERTIFICATE_KEY: certificate, "tls.key": key, "kept": "eA=="}})
    ensure_authority(kube, "ops", "ca", NOW)  # type: ignore[arg-type]
    secret: Any = kube.get("Secret", "ops", "ca")
    assert parse_authority(secret) is not None
    assert secret["data"]["kept"] == "eA=="
    assert [record.message for record in caplog.records if "cannot be used and is replaced" in record.message]
    assert "BEGIN" not in caplog.text


def test_an_authority_that_ends_soon_is_renewed_and_pods_that_know_the_former_one_trust_it() -> None:
    kube = FakeKube()
    kube.add(EMPTY)
    first = ensure_authority(kube, "ops", "ca", NOW - AUTHORITY_LIFETIME + timedelta(days=50))  # type: ignore[arg-type]
    second = ensure_authority(kube, "ops", "ca", NOW)  # type: ignore[arg-type]
    assert second.certificate.not_valid_after_utc > NOW + AUTHORITY_LIFETIME - timedelta(days=1)
    assert ensure_authority(kube, "ops", "ca", NOW).certificate == second.certificate  # type: ignore[arg-type]
    server, new_pod = contexts(second, "r.svc")
    old_pod = ssl.create_default_context(cadata=first.certificate_pem.decode())
    old_pod.verify_flags |= ssl.VERIFY_X509_STRICT
    for pod in (old_pod, new_pod):
        shake_hands(server, pod, "r.svc")


def test_what_a_clock_issues_that_is_ahead_is_valid_by_those_that_are_right() -> None:
    ahead = NOW + timedelta(hours=2)
    authority = new_authority(ahead, a_key())
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    load_into(server, issue(authority, ("r.svc",), ahead))
    shake_hands(server, ssl.create_default_context(cadata=authority.certificate_pem.decode()), "r.svc")


async def test_the_certificate_is_renewed_while_connections_stay_open() -> None:
    """Pods that report over an old connection are not disturbed, and new ones see another certificate."""
    authority = new_authority(NOW, a_key())
    client = ssl.create_default_context(cadata=authority.certificate_pem.decode())
    with reserve(1) as (port,):
        async with (
            rotating(authority, ("127.0.0.1",), renew_after=timedelta(seconds=0.05)) as tls,
            serving(web.Application(), address="127.0.0.1", port=port, tls=tls),
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client)
            serials = {_serial(writer)}
            async with asyncio.timeout(20):
                while len(serials) < 4:
                    await _ask(reader, writer)
                    _, other = await asyncio.open_connection("127.0.0.1", port, ssl=client)
                    serials.add(_serial(other))
                    other.close()
            writer.close()


def _serial(writer: asyncio.StreamWriter) -> str:
    certificate = writer.get_extra_info("ssl_object").getpeercert()
    return str(certificate["serialNumber"])


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Any answer will do."""
    writer.write(b"GET /nothing HTTP/1.1\r\nHost: here\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    assert b"404" in head
    await reader.readexactly(len(b"404: Not Found"))


async def test_a_certificate_that_cannot_be_renewed_now_is_renewed_later(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    loaded, renewed = [], asyncio.Event()

    def load(_context: ssl.SSLContext, pair: KeyPair) -> None:
        loaded.append(pair)
        if len(loaded) == 2:
            raise OSError("no space left on device")
        if len(loaded) == 3:
            renewed.set()

    monkeypatch.setattr(certificates, "load_into", load)
    monkeypatch.setattr(certificates, "RETRY_SECONDS", 0.01)
    authority = new_authority(NOW, a_key())
    async with rotating(authority, ("127.0.0.1",), renew_after=timedelta(seconds=0.01)):
        await asyncio.wait_for(renewed.wait(), 10)
    assert "no space left on device" in [r.__dict__.get("error") for r in caplog.records]


def test_a_services_name_is_known_in_its_other_forms() -> None:
    assert hosts_of("https://r.ops.svc:8443") == ("r.ops.svc", "r.ops", "r.ops.svc.cluster.local")
    assert hosts_of("https://127.0.0.1:9") == ("127.0.0.1",)
