"""Addresses that no source may have: a cloud's metadata service gives credentials to whoever asks.

A Secret may name the endpoint of a store, and a URI the host of a registry; private addresses are right there
(a MinIO in the cluster), link-local ones never are. The address is judged where the connection is made, so
that a name cannot resolve to another one in between.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from finetune_trainer.errors import InvalidSpec

if TYPE_CHECKING:
    from aiohttp.abc import AbstractResolver

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""Addresses that a translator turns into IPv4 ones, private ones among them (RFC 6052)."""
_METADATA = tuple(
    ipaddress.ip_network(text)
    for text in (
        "169.254.0.0/16", "fe80::/10",  # link-local: AWS, Azure, Google, OpenStack, Oracle
        "fd00:ec2::/32", "fd20:ce::/32",  # AWS and Google over IPv6
        "100.100.100.200/32",  # Alibaba
        "168.63.129.16/32",  # Azure's host
    )
)  # fmt: skip


def plain_address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The address that is reached: IPv4 addresses hide in several kinds of IPv6 ones."""
    ip = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        translated = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in _NAT64 else None
        return ip.ipv4_mapped or ip.sixtofour or translated or ip
    return ip


def literal_addresses(host: str) -> list[str]:
    """The host itself, if it is an address in any spelling that a resolver takes for one: 2130706433."""
    try:
        found = socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return []
    return [str(entry[4][0]) for entry in found]


def refuse_metadata(addresses: Iterable[str], host: str) -> None:
    """Raises InvalidSpec if one of the host's addresses is that of a metadata service."""
    for address in addresses:
        ip = plain_address(address)
        if any(ip.version == network.version and ip in network for network in _METADATA):
            raise InvalidSpec(
                "MetadataAddress",
                f"{host} must not be the address of a cloud's metadata service, found {address}",
                "correct the endpoint",
            )


def check_endpoint(url: str, *, name: str) -> None:
    """Raises InvalidSpec unless the URL is that of a server that may be asked. name: what holds it."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
        raise InvalidSpec(
            "InvalidEndpoint", f"{name} must read https://host or http://host", f"correct {name}"
        )
    refuse_metadata(literal_addresses(parts.hostname), parts.hostname)


def is_loopback(host: str) -> bool:
    """Whether the host is this machine by name or address."""
    return host == "localhost" or any(plain_address(a).is_loopback for a in literal_addresses(host))


def guarded_resolver() -> "AbstractResolver":
    """For aiohttp: gives only addresses that may be reached. What it gives is what is connected to."""
    from aiohttp import ThreadedResolver
    from aiohttp.abc import AbstractResolver, ResolveResult
    from typing_extensions import override

    class Resolver(AbstractResolver):
        @override
        async def resolve(
            self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
        ) -> list[ResolveResult]:
            found = await ThreadedResolver(asyncio.get_running_loop()).resolve(host, port, family)
            refuse_metadata((entry["host"] for entry in found), host)
            return found

        @override
        async def close(self) -> None:
            pass

    return Resolver()
