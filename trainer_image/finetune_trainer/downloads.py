"""https:// sources: one file, streamed to a temporary name and renamed when it is whole.

A spec must not be able to read the network that its run stands in: every host is resolved first, private
addresses are refused, and the connection goes to the very address that was checked; redirects too.
"""

import hashlib
import ipaddress
import os
import socket
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from finetune_trainer.errors import InvalidData, InvalidSpec, NoAccess, SourceUnavailable, TrainerError
from finetune_trainer.places import Places
from finetune_trainer.storage import storage_errors

MAX_BYTES = 64 * 2**30
"""A table larger than this comes on a volume: scratch space of a pod is rarely more."""
_TIMEOUT = httpx.Timeout(60, connect=15)
_MAX_REDIRECTS = 5
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""Addresses that a translator turns into IPv4 ones, private ones among them (RFC 6052)."""


def download(
    url: str, places: Places, *, token: str | None, suffixes: Sequence[str], max_bytes: int = MAX_BYTES
) -> tuple[Path, str]:
    """Where the file lies now, and "sha256:..." of its content."""
    name = PurePosixPath(unquote(urlsplit(url).path)).name
    if not name.endswith(tuple(suffixes)):
        raise InvalidData(
            "UnknownFormat", f"{public_url(url)} must end with one of {', '.join(suffixes)}, found {name!r}"
        )
    folder = places.work / "downloads" / hashlib.sha256(url.encode()).hexdigest()[:16]
    with storage_errors(public_url(url)):
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f".{os.getpid()}.part"
        try:
            digest = _fetch(url, part, places=places, token=token, max_bytes=max_bytes)
            # The name is the spec's, so only its ending is kept.
            target = folder / f"table{PurePosixPath(name).suffix}"
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
    return target, digest


def _fetch(url: str, part: Path, *, places: Places, token: str | None, max_bytes: int) -> str:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    home = urlsplit(url).netloc
    for _ in range(_MAX_REDIRECTS + 1):
        # The token belongs to the host that the spec names, and goes to no other.
        sent = headers if urlsplit(url).netloc == home else {}
        answer = _fetch_once(url, part, places=places, headers=sent, max_bytes=max_bytes)
        if answer.startswith("sha256:"):
            return answer
        url = urljoin(url, answer)
    raise SourceUnavailable(
        "TooManyRedirects", f"{public_url(url)} redirects more than {_MAX_REDIRECTS} times"
    )


def _fetch_once(url: str, part: Path, *, places: Places, headers: dict[str, str], max_bytes: int) -> str:
    """The digest of what was written to `part`, or where the server redirects to."""
    address_url, extensions, host = _checked(url, places)
    try:
        with (
            httpx.Client(timeout=_TIMEOUT, follow_redirects=False) as client,
            client.stream(
                "GET", address_url, headers={**headers, "Host": host}, extensions=extensions
            ) as response,
        ):
            if response.is_redirect:
                return response.headers["location"]
            if response.status_code != httpx.codes.OK:
                raise _status_error(url, response.status_code)
            return _write(response, part, url=url, max_bytes=max_bytes)
    except httpx.HTTPError as error:
        raise SourceUnavailable(
            "HostUnavailable",
            f"{public_url(url)} did not answer, or broke off ({type(error).__name__})",
            "another attempt may work",
        ) from error


def _write(response: httpx.Response, part: Path, *, url: str, max_bytes: int) -> str:
    digest, size = hashlib.sha256(), 0
    with part.open("wb") as file:
        for chunk in response.iter_bytes(1 << 20):
            size += len(chunk)
            if size > max_bytes:
                raise InvalidData(
                    "TooLarge", f"{public_url(url)} must have at most {max_bytes} bytes, found more"
                )
            digest.update(chunk)
            file.write(chunk)
    return f"sha256:{digest.hexdigest()}"


def _checked(url: str, places: Places) -> tuple[str, dict[str, str], str]:
    """The URL with the checked address in place of the host, what TLS must know, and the Host header."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        raise InvalidSpec("NotHttps", f"{public_url(url)} must be https://, also where a redirect leads")
    if getproxies().get("https") and not proxy_bypass(parts.hostname):
        # The administrator's proxy resolves and connects; an address written out is still ours to refuse.
        _refuse_private(_literal_addresses(parts.hostname), url, places)
        return url, {}, parts.netloc
    addresses = _resolve(parts.hostname, parts.port or 443, url)
    _refuse_private(addresses, url, places)
    address = f"[{addresses[0]}]" if ":" in addresses[0] else addresses[0]
    netloc = f"{address}:{parts.port}" if parts.port else address
    return (
        urlunsplit((parts.scheme, netloc, parts.path, parts.query, "")),
        {"sni_hostname": parts.hostname},
        parts.netloc,
    )


def _resolve(host: str, port: int, url: str) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise SourceUnavailable(
            "HostUnknown", f"{public_url(url)}: the name {host!r} does not resolve"
        ) from error
    return [str(entry[4][0]) for entry in found]


def _literal_addresses(host: str) -> list[str]:
    """The host itself, if it is an address in any spelling that a resolver takes for one."""
    try:
        found = socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return []
    return [str(entry[4][0]) for entry in found]


def _refuse_private(addresses: Sequence[str], url: str, places: Places) -> None:
    """Every address that a name has must be public: which of them is taken is not the check's to choose."""
    for address in addresses:
        if not places.private_addresses and not _is_public(address):
            raise InvalidSpec(
                "PrivateAddress",
                f"{public_url(url)} must be a public host, found the address {address}",
                "bring the file on a volume and use pvc://",
            )


def _is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        translated = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None
        ip = ip.ipv4_mapped or ip.sixtofour or translated or ip
    return ip.is_global and not ip.is_multicast


def _status_error(url: str, status: int) -> TrainerError:
    name = public_url(url)
    if status in {401, 403}:
        return NoAccess(
            "HostRefused",
            f"{name} refused access (status {status})",
            "set `secretRef` to a Secret with key `token`",
        )
    if status in {404, 410}:
        return InvalidSpec("FileMissing", f"{name} does not exist (status {status})", "correct `uri`")
    return SourceUnavailable(
        "HostUnavailable", f"{name} answered with status {status}", "another attempt may work"
    )


def public_url(url: str) -> str:
    """Without query and fragment: they carry signatures."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
