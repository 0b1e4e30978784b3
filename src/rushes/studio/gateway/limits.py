"""Tells a caller in every reply what is left to its key, in OpenAI's headers and formats."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from starlette.datastructures import MutableHeaders

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from rushes.studio.keys import ApiKey, Left, RateLimiter


def note_key(request: Request, key: ApiKey) -> None:
    """From here on the reply tells of this key's requests."""
    request.state.key = key


def note_videos(request: Request, left: Left) -> None:
    """And of its videos of the day."""
    request.state.videos = left


class LimitHeaders:
    """ASGI middleware: adds the headers to replies whose caller is known."""

    def __init__(self, app: ASGIApp, limiter: RateLimiter) -> None:
        self._app = app
        self._limiter = limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on."""

        async def with_limits(message: Message) -> None:
            state = scope.get("state", {})
            if message["type"] == "http.response.start" and "key" in state:
                headers = MutableHeaders(scope=message)
                _add(headers, "requests", self._limiter.left(state["key"]))
                if "videos" in state:
                    _add(headers, "videos", state["videos"])
            await send(message)

        await self._app(scope, receive, with_limits)


def _add(headers: MutableHeaders, what: str, left: Left) -> None:
    headers[f"x-ratelimit-limit-{what}"] = str(left.limit)
    headers[f"x-ratelimit-remaining-{what}"] = str(left.remaining)
    headers[f"x-ratelimit-reset-{what}"] = duration(left.reset_s)


def duration(seconds: float) -> str:
    """As OpenAI writes it: "120ms", "1s", "6m0s", "23h59m59s"; rounded up."""
    if 0 < seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{rest}s"
