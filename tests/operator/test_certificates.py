"""The certificate authority and what it issues, up to a real TLS handshake."""

import base64
import ssl
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

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
)
from tests.operator.fake_kube import FakeKube

NOW = datetime.now(UTC)
EMPTY = {"kind": "Secret", "metadata": {"name": "ca", "namespace": "ops"}}


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
    server, client = contexts(new_authority(NOW), host)
    shake_hands(server, client, host)


def test_another_host_is_not_trusted() -> None:
    server, client = contexts(new_authority(NOW), "reports.ops.svc")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(server, client, "reports.team.svc")


def test_another_authority_is_not_trusted() -> None:
    server, _ = contexts(new_authority(NOW), "reports.ops.svc")
    _, client = contexts(new_authority(NOW), "reports.ops.svc")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(server, client, "reports.ops.svc")


def test_a_renewed_certificate_is_served_from_the_next_connection_on() -> None:
    authority = new_authority(NOW)
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
            theirs.append(new_authority(NOW))
            theirs[0] = ensure_authority(kube, "ops", "ca", NOW)  # type: ignore[arg-type]

    kube.before = be_faster
    ours = ensure_authority(kube, "ops", "ca", NOW)  # type: ignore[arg-type]
    assert ours.certificate == theirs[0].certificate


def test_a_missing_secret_says_how_to_make_it() -> None:
    with pytest.raises(MissingSecret, match="kubectl -n ops create secret generic ca"):
        ensure_authority(FakeKube(), "ops", "ca", NOW)  # type: ignore[arg-type]


@pytest.mark.parametrize("content", [b"", b"not a certificate"])
def test_an_unreadable_authority_is_replaced(content: bytes) -> None:
    kube = FakeKube()
    data = {CERTIFICATE_KEY: base64.b64encode(content).decode(), "tls.key": "", "kept": "eA=="}
    kube.add({**EMPTY, "data": data})
    ensure_authority(kube, "ops", "ca", NOW)  # type: ignore[arg-type]
    secret: Any = kube.get("Secret", "ops", "ca")
    assert parse_authority(secret, NOW) is not None
    assert secret["data"]["kept"] == "eA=="


def test_an_authority_that_ends_soon_is_replaced() -> None:
    kube = FakeKube()
    kube.add(EMPTY)
    first = ensure_authority(kube, "ops", "ca", NOW)  # type: ignore[arg-type]
    later = NOW + AUTHORITY_LIFETIME - timedelta(days=30)
    assert ensure_authority(kube, "ops", "ca", later).certificate != first.certificate  # type: ignore[arg-type]


def test_a_services_name_is_known_in_its_other_forms() -> None:
    assert hosts_of("https://r.ops.svc:8443") == ("r.ops.svc", "r.ops", "r.ops.svc.cluster.local")
    assert hosts_of("https://127.0.0.1:9") == ("127.0.0.1",)
