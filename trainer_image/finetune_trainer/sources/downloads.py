"""https:// sources: one file, streamed to a temporary name and kept under its digest when it is whole.

A spec must not be able to read the network that its run stands in: every host is resolved first, private
addresses are refused, and the connection goes to the very address that was checked; redirects too.
A file whose server gives an ETag comes again only when that has changed; one that breaks off goes on where it
was.
"""

import hashlib
import json
import shutil
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urljoin, urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass
from uuid import uuid4

import httpx

from finetune_trainer.durable import write_file
from finetune_trainer.errors import InvalidData, InvalidSpec, NoAccess, SourceUnavailable, TrainerError
from finetune_trainer.places import Places
from finetune_trainer.sources.download_cache import Entry, cache_key, find_entry, get_entry
from finetune_trainer.sources.endpoints import literal_addresses, plain_address
from finetune_trainer.sources.retries import parse_retry_after, retried
from finetune_trainer.sources.transfers import Transfer
from finetune_trainer.storage import storage_errors

MAX_BYTES = 64 * 2**30
"""A table larger than this comes on a volume: scratch space of a pod is rarely more."""
CONNECT_SECONDS = 15
READ_SECONDS = 60
_MAX_REDIRECTS = 5


@dataclass
class _Part:
    """What is here of a file, over several attempts. etag: of its content, None if the server gives none."""

    path: Path
    places: Places
    max_bytes: int
    etag: str | None = None

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def headers(self) -> dict[str, str]:
        """Ask for the rest, where it is certain to be the rest of the same content."""
        if self.etag is None or self.size == 0:
            return {}
        return {"Range": f"bytes={self.size}-", "If-Range": self.etag}


@dataclass(frozen=True)
class _Known:
    """What an earlier run fetched of a URL."""

    etag: str
    entry: Entry


@dataclass(frozen=True)
class _Request:
    """url: what the spec names; the token belongs to its host and goes to no other."""

    url: str
    token: str | None
    known: _Known | None = None
    home: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "home", urlsplit(self.url).netloc)

    def headers_for(self, url: str) -> dict[str, str]:
        own = self.token is not None and urlsplit(url).netloc == self.home
        headers = {"Authorization": f"Bearer {self.token}"} if own else {}
        return {**headers, **({"If-None-Match": self.known.etag} if self.known else {})}


def download(
    url: str, places: Places, *, token: str | None, suffixes: Sequence[str], max_bytes: int = MAX_BYTES
) -> tuple[Path, str]:
    """Where the file lies now, and "sha256:..." of its content."""
    name = PurePosixPath(unquote(urlsplit(url).path)).name
    if not name.endswith(tuple(suffixes)):
        raise InvalidData(
            "UnknownFormat", f"{public_url(url)} must end with one of {', '.join(suffixes)}, found {name!r}"
        )
    # The name is the spec's, so only its ending is kept.
    target = f"table{PurePosixPath(name).suffix}"
    request = _Request(url, token, _find_known(url, places))
    part = _Part(places.work / f".{uuid4().hex}.part", places, max_bytes)
    try:
        with storage_errors(public_url(url)):
            places.work.mkdir(parents=True, exist_ok=True)
            is_new = retried(lambda: _fetch(request, part))
            entry = _keep(request, part, target) if is_new or request.known is None else request.known.entry
    finally:
        part.path.unlink(missing_ok=True)
    return entry / target, entry.label


def _keep(request: _Request, part: _Part, target: str) -> Entry:
    cache = part.places.cache
    with part.path.open("rb") as file:
        digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"

    def fill(folder: Path) -> str:
        shutil.move(part.path, folder / target)
        return digest

    key = cache_key("https", target, digest)
    entry = get_entry(cache, key, fill=fill)
    if part.etag is not None:
        note = _note(request.url, part.places)
        note.parent.mkdir(parents=True, exist_ok=True)
        content = json.dumps({"etag": part.etag, "key": key}).encode()
        write_file(note, content, aside=note.with_name(f".{uuid4().hex}"))
    return entry


def _note(url: str, places: Places) -> Path:
    """Says which entry of the cache a URL had last. URLs carry signatures: only their digest is put down."""
    return places.cache / "https" / f"{cache_key(url)}.json"


def _find_known(url: str, places: Places) -> _Known | None:
    try:
        note = json.loads(_note(url, places).read_text(encoding="utf-8"))
        etag, key = str(note["etag"]), str(note["key"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    entry = find_entry(places.cache, key) if key.isalnum() else None
    return _Known(etag, entry) if entry is not None else None


def _fetch(request: _Request, part: _Part) -> bool:
    """False when what is known has not changed."""
    url = request.url
    for _ in range(_MAX_REDIRECTS + 1):
        answer = _fetch_once(url, part, headers=request.headers_for(url))
        if isinstance(answer, bool):
            return answer
        url = urljoin(url, answer)
    raise InvalidSpec(
        "TooManyRedirects", f"{public_url(url)} redirects more than {_MAX_REDIRECTS} times", "correct `uri`"
    )


def _fetch_once(url: str, part: _Part, *, headers: dict[str, str]) -> bool | str:
    """Whether there was something new, which `part` has then, or where the server redirects to."""
    address_url, extensions, host = _checked(url, part.places)
    wanted = {**headers, **part.headers(), "Host": host, "Accept-Encoding": "identity"}
    try:
        with (
            httpx.Client(timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)) as client,
            client.stream("GET", address_url, headers=wanted, extensions=extensions) as response,
        ):
            if response.has_redirect_location:
                return response.headers["location"]
            if response.status_code == httpx.codes.NOT_MODIFIED:
                return False
            if response.status_code not in {httpx.codes.OK, httpx.codes.PARTIAL_CONTENT}:
                raise _status_error(url, response)
            _write(response, part, url=url)
            return True
    except httpx.HTTPError as error:
        raise SourceUnavailable(
            "HostUnavailable",
            f"{public_url(url)} did not answer, or broke off ({type(error).__name__})",
            "another attempt may work",
        ) from error


def _write(response: httpx.Response, part: _Part, *, url: str) -> None:
    goes_on = response.status_code == httpx.codes.PARTIAL_CONTENT
    etag = response.headers.get("etag", "")
    part.etag = etag if etag.startswith('"') else None  # a weak one (W/) does not stand for these very bytes
    size = part.size if goes_on else 0
    expected = size + int(response.headers.get("content-length") or 0)
    transfer = Transfer(public_url(url), expected, part.places.on_transfer)
    with part.path.open("ab" if goes_on else "wb") as file:
        for chunk in response.iter_bytes(1 << 20):
            size += len(chunk)
            if size > part.max_bytes:
                raise InvalidData(
                    "TooLarge", f"{public_url(url)} must have at most {part.max_bytes} bytes, found more"
                )
            file.write(chunk)
            transfer.add(len(chunk))


def _checked(url: str, places: Places) -> tuple[str, dict[str, str], str]:
    """The URL with the checked address in place of the host, what TLS must know, and the Host header."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        raise InvalidSpec("NotHttps", f"{public_url(url)} must be https://, also where a redirect leads")
    if parts.username is not None:
        raise InvalidSpec("UserInUrl", f"{public_url(url)} must name no user, also where a redirect leads")
    if getproxies().get("https") and not proxy_bypass(parts.hostname):
        # The administrator's proxy resolves and connects; an address written out is still ours to refuse.
        _refuse_private(literal_addresses(parts.hostname), url, places)
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
    ip = plain_address(address)
    return ip.is_global and not ip.is_multicast


def _status_error(url: str, response: httpx.Response) -> TrainerError:
    name, status = public_url(url), response.status_code
    if status in {401, 403}:
        return NoAccess(
            "HostRefused",
            f"{name} refused access (status {status})",
            "set `secretRef` to a Secret with key `token`",
        )
    if status in {404, 410}:
        return InvalidSpec("FileMissing", f"{name} does not exist (status {status})", "correct `uri`")
    return SourceUnavailable(
        "HostUnavailable",
        f"{name} answered with status {status}",
        "another attempt may work",
        retry_after_seconds=parse_retry_after(response.headers.get("Retry-After")),
    )


def public_url(url: str) -> str:
    """Without query and fragment: they carry signatures."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
