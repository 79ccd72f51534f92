"""Keys and certificates of one cluster: a CA of its own, and what each component shows or checks.

Elliptic-curve keys: a dozen of them cost milliseconds, where RSA would cost seconds of every start.
"""

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = dt.timedelta(days=30)
# The clock of a restored virtual machine may stand a little behind.
BACKDATED = dt.timedelta(hours=1)
KUBELET_CLIENT = "kube-apiserver-kubelet-client"


@dataclass(frozen=True)
class Identity:
    """A certificate to be made: who it names, and where it is valid as a server."""

    file: str
    common_name: str
    groups: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()


class Authority:
    """A certificate authority that writes PEM files into one folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "local-cluster-ca")])
        certificate = (
            self._builder(self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self._write("ca", self._key, certificate)

    def issue(self, identity: Identity) -> None:
        """Write `<file>.crt` and `<file>.key`."""
        key = ec.generate_private_key(ec.SECP256R1())
        groups = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in identity.groups]
        subject = x509.Name([*groups, x509.NameAttribute(NameOID.COMMON_NAME, identity.common_name)])
        usage = [ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = self._builder(subject, key)
        if identity.hosts:
            usage = [ExtendedKeyUsageOID.SERVER_AUTH]
            builder = builder.add_extension(
                x509.SubjectAlternativeName(_names(identity.hosts)), critical=False
            )
        certificate = (
            builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usage), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self._write(identity.file, key, certificate)

    def write_signing_key(self, file: str) -> None:
        """A bare key pair, for service-account tokens: `<file>.key` and `<file>.pub`."""
        key = ec.generate_private_key(ec.SECP256R1())
        self._write_key(file, key)
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        (self.folder / f"{file}.pub").write_bytes(public)

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATED)
            .not_valid_after(now + LIFETIME)
            # OpenSSL's strict checking, Python's default from 3.13 on, wants both identifiers.
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False
            )
        )

    def _write(self, file: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self._write_key(file, key)
        (self.folder / f"{file}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def _write_key(self, file: str, key: ec.EllipticCurvePrivateKey) -> None:
        path = self.folder / f"{file}.key"
        path.touch(mode=0o600)
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )


def _names(hosts: Sequence[str]) -> list[x509.GeneralName]:
    names: list[x509.GeneralName] = []
    for host in hosts:
        try:
            names.append(x509.IPAddress(ipaddress.ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    return names


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def issue_all(folder: Path, *, node: str, service_address: str) -> None:
    """Everything one cluster needs, under the file names the rest of this package uses."""
    authority = Authority(folder)
    api_names = ("127.0.0.1", service_address, "localhost", "kubernetes.default", "kubernetes.default.svc")
    for identity in (
        Identity("apiserver", "kube-apiserver", hosts=api_names),
        Identity("kubelet-client", KUBELET_CLIENT, groups=("system:masters",)),
        Identity("admin", "local-admin", groups=("system:masters",)),
        Identity("controller-manager", "system:kube-controller-manager"),
        Identity("scheduler", "system:kube-scheduler"),
        Identity("provisioner", "local-provisioner", groups=("system:masters",)),
        Identity("node", f"system:node:{node}", groups=("system:nodes",)),
        Identity("node-serving", f"system:node:{node}", groups=("system:nodes",), hosts=("127.0.0.1", node)),
    ):
        authority.issue(identity)
    authority.write_signing_key("service-accounts")
