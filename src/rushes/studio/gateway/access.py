"""Who is calling: the key behind the bearer token, and the network that the call comes from."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

from starlette.concurrency import run_in_threadpool

from rushes.studio.gateway.errors import wrong_key
from rushes.studio.gateway.limits import note_key
from rushes.studio.keys import last_four

if TYPE_CHECKING:
    from starlette.requests import Request

    from rushes.studio.keys import ApiKey, KeyStore

_LONGEST_TOKEN: Final = 200
_IPV4_PREFIX: Final = 24
_IPV6_PREFIX: Final = 48


async def authenticate(request: Request, keys: KeyStore) -> ApiKey:
    """The active key that the request carries.

    Raises:
        ApiError: there is none; 401.
    """
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token or len(token) > _LONGEST_TOKEN or not token.isascii():
        raise wrong_key("")
    key = await run_in_threadpool(keys.find, token)
    if key is None:
        raise wrong_key(last_four(token))
    note_key(request, key)
    return key


def client_network(request: Request) -> str | None:
    """The caller's address without the part that names a person: /24 for IPv4, /48 for IPv6."""
    if request.client is None:
        return None
    try:
        address = ipaddress.ip_address(request.client.host)
    except ValueError:
        return None
    prefix = _IPV4_PREFIX if address.version == 4 else _IPV6_PREFIX  # noqa: PLR2004 - the protocol's own number
    return str(ipaddress.ip_network(f"{address}/{prefix}", strict=False))
