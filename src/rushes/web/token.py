"""A token in front of everything, for a control room that other machines can reach.

Programs send `Authorization: Bearer TOKEN`; browsers ask for a password and send it by Basic authentication.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["TokenGate", "authorized"]

_OPEN: Final = frozenset({"/healthz", "/readyz"})  # a load balancer's checks tell nothing


def authorized(header: str, token: str) -> bool:
    """Whether an Authorization header carries the token. Compared in constant time."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "basic":
        try:
            value = base64.b64decode(value, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return False
    elif scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(value.strip().encode(), token.encode())


class TokenGate:
    """ASGI middleware that answers 401 to whoever does not show the token."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _OPEN:
            await self._app(scope, receive, send)
            return
        if authorized(Headers(scope=scope).get("authorization", ""), self._token):
            await self._app(scope, receive, send)
            return
        reply = PlainTextResponse(
            "this control room needs its token: send Authorization: Bearer with the value of RUSHES_TOKEN\n",
            status_code=401,
            headers={"WWW-Authenticate": 'Basic realm="rushes", charset="UTF-8"'},
        )
        await reply(scope, receive, send)
