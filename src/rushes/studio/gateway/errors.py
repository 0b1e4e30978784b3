"""Every refusal, in OpenAI's shape. A text says what was wrong and what would do; never a prompt, never a key."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from starlette.responses import JSONResponse

from rushes.sdk.tracing import Stopped

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_SHOWN: Final = 60


class ApiError(Stopped):
    """A request that is refused. It ends its spans without being their error: the gateway did its work."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str,
        kind: str = "invalid_request_error",
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """`kind` is what OpenAI calls the error's type, `param` the parameter that is to blame."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.kind = kind
        self.param = param
        self.headers = dict(headers or {})

    def response(self) -> JSONResponse:
        """The reply."""
        return error_response(
            self.status, self.message, code=self.code, kind=self.kind, param=self.param, headers=self.headers
        )


def error_response(
    status: int,
    message: str,
    *,
    code: str,
    kind: str = "invalid_request_error",
    param: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """A reply with OpenAI's error object."""
    error = {"message": message, "type": kind, "param": param, "code": code}
    return JSONResponse({"error": error}, status_code=status, headers=dict(headers or {}))


def shown(value: object) -> str:
    """A value from outside, fit for a message: ASCII, short, quoted."""
    text = ascii(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def bad_value(param: str, message: str, *, code: str = "invalid_value") -> ApiError:
    """A parameter with a value that will not do."""
    return ApiError(400, message, code=code, param=param)


def wrong_key(last_four: str) -> ApiError:
    """A missing or unknown key."""
    if last_four:
        message = f"incorrect API key provided (ending in {last_four}); check the key, or ask for a new one"
    else:
        message = "no valid API key provided; send one as 'Authorization: Bearer rk_...'"
    return ApiError(401, message, code="invalid_api_key", headers={"www-authenticate": "Bearer"})


def unknown_model(name: object, known: Iterable[str]) -> ApiError:
    """A model that there is not."""
    names = ", ".join(sorted(known))
    said = "model is required" if name is None else f"model {shown(name)} does not exist"
    return ApiError(400, f"{said}; models are {names}", code="model_not_found", param="model")


def no_such_video(video_id: str) -> ApiError:
    """An unknown video, or another key's: the reply must not tell which."""
    return ApiError(404, f"no video {shown(video_id)}", code="video_not_found", param="video_id")


def too_many_requests(per_minute: int, retry_after_s: float) -> ApiError:
    """The key's rate limit."""
    return _try_later(
        f"rate limit of {per_minute} submissions a minute reached", "rate_limit_exceeded", retry_after_s
    )


def queue_full(depth: int, retry_after_s: float) -> ApiError:
    """No more jobs are taken on for now."""
    return _try_later(f"the queue is full: {depth} videos are waiting", "queue_full", retry_after_s)


def whole_seconds(seconds: float) -> int:
    """For `Retry-After`: rounded up, at least one."""
    return max(1, math.ceil(seconds))


def _try_later(why: str, code: str, retry_after_s: float) -> ApiError:
    seconds = whole_seconds(retry_after_s)
    return ApiError(
        429,
        f"{why}; try again in {seconds} s",
        code=code,
        kind="rate_limit_error",
        headers={"retry-after": str(seconds)},
    )
