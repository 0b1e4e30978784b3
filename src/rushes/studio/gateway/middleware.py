"""Counts every request and catches what no handler foresaw: a reply then tells nothing of the inside."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Final

from rushes.sdk import instruments, logs
from rushes.studio.gateway.errors import error_response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LOG: Final = logs.get_logger("gateway")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Watch:
    """ASGI middleware around the routes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            _LOG.error("gateway.request.failed", error=_describe(error))
            if status:
                raise  # the reply has begun: all that is left is to break it off
            response = error_response(
                500,
                "the server had an error while processing the request; try again",
                code="internal_error",
                kind="server_error",
            )
            await response(scope, receive, watched)
        finally:
            if status:
                _count(scope, status)


def _count(scope: Scope, status: int) -> None:
    route = getattr(scope.get("route"), "path", None)
    method = scope["method"] if scope["method"] in _METHODS else "other"
    instruments.api_requests_total.add(
        1, route=route if isinstance(route, str) else "unmatched", method=method, status=str(status)
    )


def _describe(error: BaseException) -> str:
    """The error's kind and place, without its text: that may quote what was sent."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"
