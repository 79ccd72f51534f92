"""The report server's certificate: an authority of the operator's own, and what it issues.

The authority lives in one Secret that the chart creates empty; its certificate goes into every run's
ConfigMap. The serving certificate is issued at start, kept in memory, and replaced long before it ends.

An authority that ends soon is renewed with its own key, so that pods that know the former certificate trust
what is issued from then on too. Without the key there is no such way: pods that run then cannot report until
their end, and their Report is found in their termination message.
"""

import asyncio
import base64
import contextlib
import logging
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from finetune_api import names
from finetune_operator.kube import Conflict, Kube

logger = logging.getLogger(__name__)

CERTIFICATE_KEY = "tls.crt"
PRIVATE_KEY = "tls.key"
AUTHORITY_LIFETIME = timedelta(days=3650)
SERVING_LIFETIME = timedelta(days=30)
RENEW_AFTER = timedelta(days=20)
RETRY_SECONDS = 3600.0
# An authority must outlive what it issues.
AUTHORITY_RESERVE = 2 * SERVING_LIFETIME
# Nodes' clocks differ, and may step: what is issued by a clock that is ahead must be valid by all others.
BACKDATE = timedelta(days=1)


class MissingSecret(Exception):
    """The Secret that the chart creates is not there."""


@dataclass(frozen=True)
class KeyPair:
    """A certificate with its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def certificate_pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    @classmethod
    def from_pem(cls, certificate: bytes, key: bytes) -> Self:
        private = serialization.load_pem_private_key(key, password=None)
        if not isinstance(private, ec.EllipticCurvePrivateKey):
            raise TypeError(f"expected an elliptic-curve key, found {type(private).__name__}")
        return cls(x509.load_pem_x509_certificate(certificate), private)


def ensure_authority(kube: Kube, namespace: str, secret_name: str, now: datetime) -> KeyPair:
    """The authority from the Secret; a new one is stored there when it holds none, or one that ends soon.

    Raises MissingSecret, and Conflict never: whoever stores first wins, the others read it.
    """
    while True:
        secret = kube.get("Secret", namespace, secret_name)
        if secret is None:
            raise MissingSecret(
                f"Secret {namespace}/{secret_name} is missing. The chart creates it empty, because the"
                " operator may not create Secrets; without the chart:"
                f" kubectl -n {namespace} create secret generic {secret_name}"
            )
        authority = parse_authority(secret)
        if authority is not None and authority.certificate.not_valid_after_utc > now + AUTHORITY_RESERVE:
            return authority
        try:
            kube.replace(with_authority(secret, _next_authority(secret, authority, now)))
        except Conflict:
            continue


def _next_authority(secret: dict[str, Any], authority: KeyPair | None, now: datetime) -> KeyPair:
    extra = {"secret": f"{secret['metadata']['namespace']}/{secret['metadata']['name']}"}
    if authority is not None:
        logger.info("renewing the certificate authority with its own key", extra=extra)
        return new_authority(now, authority.key)
    if secret.get("data"):
        logger.warning(
            "what is in the Secret of the certificate authority cannot be used and is replaced;"
            " pods that run now cannot report until they end",
            extra=extra,
        )
    else:
        logger.info("making a certificate authority", extra=extra)
    return new_authority(now, ec.generate_private_key(ec.SECP256R1()))


def parse_authority(secret: dict[str, Any]) -> KeyPair | None:
    """The authority in the Secret, or None when there is none of use: absent, unreadable, not of one key."""
    data = secret.get("data") or {}
    try:
        pair = KeyPair.from_pem(base64.b64decode(data[CERTIFICATE_KEY]), base64.b64decode(data[PRIVATE_KEY]))
        constraints = pair.certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except (KeyError, ValueError, TypeError, UnsupportedAlgorithm, x509.ExtensionNotFound):
        return None
    is_whole = pair.certificate.public_key() == pair.key.public_key() and constraints.value.ca
    return pair if is_whole else None


def with_authority(secret: dict[str, Any], authority: KeyPair) -> dict[str, Any]:
    """The Secret with the authority in it, and with its resourceVersion."""
    content = {CERTIFICATE_KEY: authority.certificate_pem, PRIVATE_KEY: authority.key_pem}
    encoded = {key: base64.b64encode(value).decode() for key, value in content.items()}
    return {**secret, "kind": "Secret", "data": {**(secret.get("data") or {}), **encoded}}


def new_authority(now: datetime, key: ec.EllipticCurvePrivateKey) -> KeyPair:
    """A certificate authority that may issue serving certificates only."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names.MANAGED_BY)])
    builder = _builder(subject, subject, key, now, now + AUTHORITY_LIFETIME)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
    builder = builder.add_extension(
        x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
    )
    return KeyPair(builder.sign(key, hashes.SHA256()), key)


def issue(authority: KeyPair, hosts: tuple[str, ...], now: datetime) -> KeyPair:
    """A serving certificate for these host names and addresses."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names.MANAGED_BY + " reports")])
    issuer = authority.certificate.subject
    builder = _builder(subject, issuer, key, now, now + SERVING_LIFETIME)
    alternatives = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
    builder = builder.add_extension(alternatives, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    builder = builder.add_extension(identifier, critical=False)
    return KeyPair(builder.sign(authority.key, hashes.SHA256()), key)


@contextlib.asynccontextmanager
async def rotating(
    authority: KeyPair,
    hosts: tuple[str, ...],
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    *,
    renew_after: timedelta = RENEW_AFTER,
) -> AsyncIterator[ssl.SSLContext]:
    """A TLS context whose certificate is issued now and again, long before it ends."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)

    def renew() -> None:
        load_into(tls, issue(authority, hosts, now()))

    async def keep_renewing() -> None:
        seconds = renew_after.total_seconds()
        while True:
            await asyncio.sleep(seconds)
            try:
                renew()
                seconds = renew_after.total_seconds()
            except OSError as error:
                logger.warning("could not renew the certificate", extra={"error": str(error)})
                seconds = RETRY_SECONDS

    renew()
    renewing = asyncio.create_task(keep_renewing(), name="certificate")
    try:
        yield tls
    finally:
        renewing.cancel()


def hosts_of(report_url: str) -> tuple[str, ...]:
    """The URL's host, and for a Service's name its other forms."""
    host = urlsplit(report_url).hostname
    if not host:
        raise ValueError(f"report_url must be a URL with a host, found {report_url!r}")
    service = host.removesuffix(".svc")
    return (host,) if service == host else (host, service, f"{host}.cluster.local")


def load_into(context: ssl.SSLContext, pair: KeyPair) -> None:
    """Serve with this certificate from the next connection on.

    The ssl module reads keys from files only; this one exists for an instant, readable by the owner alone.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pair.pem"
        path.touch(mode=0o600)
        path.write_bytes(pair.key_pem + pair.certificate_pem)
        context.load_cert_chain(path)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(end)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)
