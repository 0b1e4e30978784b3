"""Where a webhook may go: the URL comes from a customer, and must not lead into the operator's own network."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

_LONGEST: Final = 2000
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")


class AddressRefusedError(ValueError):
    """The URL is none that a webhook may be sent to. The text does not repeat it."""


def check_url(url: str, *, private: bool) -> None:
    """Checks what can be checked without asking a name server; with `private` any address may be named.

    Raises:
        AddressRefusedError: it is no http(s) URL, carries a password or a fragment, or names a private address.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise AddressRefusedError("the webhook's URL is not valid") from None
    if parts.scheme not in {"http", "https"} or not host:
        raise AddressRefusedError("a webhook's URL begins with https:// or http:// and a host")
    if parts.username is not None or parts.fragment:
        raise AddressRefusedError("a webhook's URL can have neither a user and password nor a fragment")
    if len(url) > _LONGEST or not url.isascii() or not url.isprintable() or " " in url or port == 0:
        raise AddressRefusedError(
            f"a webhook's URL has at most {_LONGEST} characters, all of them printable ASCII without spaces"
        )
    if not private and (host == "localhost" or host.endswith(".localhost")):
        raise _private()
    try:
        literal = ipaddress.ip_address(host)
    except ValueError:
        return  # a name: what it means is looked at each time it is connected to
    if not private and not is_public(literal):
        raise _private()


def resolve(host: str, port: int, *, private: bool) -> str:
    """The address to connect to. Whoever connects to it, and does not resolve the name again, can't be misled.

    Raises:
        AddressRefusedError: one of the name's addresses is not public, and `private` is not set.
        OSError: the name can't be resolved.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [str(entry[4][0]) for entry in found]
    if not private and not all(is_public(ipaddress.ip_address(one.partition("%")[0])) for one in addresses):
        raise _private()
    return addresses[0]


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is of the public internet, IPv4 inside IPv6 included."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address.teredo is not None:
            return False
    return address.is_global and not address.is_multicast


def _private() -> AddressRefusedError:
    return AddressRefusedError(
        "the webhook's address is not a public one; the operator can allow that with webhooks_private = true"
    )
