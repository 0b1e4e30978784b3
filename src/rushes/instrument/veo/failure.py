"""What Google's answers mean for a job: one failure with a reason, a code and a text that is safe to show.

The provider's own text is read and never passed on: it may quote the prompt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final

from google.auth import exceptions as auth
from google.genai import errors

from rushes.catalog import Reason
from rushes.sdk.tracing import Stopped

__all__ = ["Failure", "VeoCancelled", "VeoError", "of_error", "of_operation"]

# google.rpc.Code of an operation's error to the HTTP status that says the same.
_HTTP: Final = {1: 499, 3: 400, 4: 504, 5: 404, 7: 403, 8: 429, 9: 400, 11: 400, 13: 500, 14: 503, 16: 401}
_BLOCKED: Final = (
    "responsible ai",
    "safety",
    "usage guidelines",
    "sensitive word",
    "content polic",
    "prohibited",
)
_BAD_REQUEST, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _TOO_MANY, _SERVER = 400, 401, 403, 404, 429, 500
_TRANSPORTS: Final = frozenset({"httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3"})


@dataclass(frozen=True, slots=True)
class Failure:
    """Why there is no video.

    `reason` is the label of video_generation_failure_total, `code` and `message` go to the caller;
    `retry_after_s` is what the provider asked for; `transient` says whether the same call may succeed later.
    """

    reason: Reason
    code: str
    message: str
    retry_after_s: float | None = None
    transient: bool = False


class VeoError(Exception):
    """The provider made no video; `failure` says why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class VeoCancelled(Stopped):
    """The caller gave up. The provider has no call to stop a video: it may go on, and be billed."""


def of_error(error: Exception, *, now_s: float) -> Failure | None:
    """The failure that an exception of google-genai or of its transport means; None for any other exception.

    Args:
        error: what a call raised.
        now_s: seconds since the epoch, for a Retry-After that is a date.
    """
    if isinstance(error, errors.APIError):
        details = error.details if isinstance(error.details, Mapping) else {}
        body = details.get("error", details)
        return _of_status(
            int(error.code or 0), body if isinstance(body, Mapping) else {}, _retry_header(error, now_s)
        )
    if isinstance(error, auth.GoogleAuthError) and not isinstance(error, auth.TransportError):
        text = (
            "there are no credentials for Google's API that it accepts; see Application Default Credentials"
        )
        return Failure("provider", "provider_unauthorized", text)
    if type(error).__module__.partition(".")[0] in _TRANSPORTS or isinstance(error, auth.TransportError):
        text = f"Google's API could not be reached or broke off ({type(error).__name__}); try again"
        return Failure("provider", "provider_unreachable", text, transient=True)
    return None


def of_operation(error: Mapping[str, Any]) -> Failure:
    """The failure that a finished operation's `error` (a google.rpc.Status) means."""
    code = error.get("code")
    return _of_status(_HTTP.get(code, _SERVER) if isinstance(code, int) else _SERVER, error, None)


def _of_status(status: int, body: Mapping[str, Any], retry_after_s: float | None) -> Failure:
    text = str(body.get("message", "")).lower()
    if status == _BAD_REQUEST and any(word in text for word in _BLOCKED):
        return blocked()
    if status == _TOO_MANY:
        delay = _retry_info(body)
        return Failure(
            "provider",
            "provider_quota_exceeded",
            "the quota at Google's API is used up; wait, or ask Google for more",
            delay if delay is not None else retry_after_s,
            transient=True,
        )
    if status >= _SERVER:
        message = f"Google's API failed (HTTP {status}); try again"
        return Failure("provider", "provider_unavailable", message, retry_after_s, transient=True)
    code, message = _REFUSED.get(status, _REFUSED[_BAD_REQUEST])
    return Failure("provider", code, f"{message} (HTTP {status})")


_REFUSED: Final = {
    _BAD_REQUEST: (
        "provider_invalid_request",
        "Google's API refused the request; check the model, the length, the resolution and the aspect ratio",
    ),
    _UNAUTHORIZED: ("provider_unauthorized", "Google's API did not accept the credentials"),
    _FORBIDDEN: ("provider_unauthorized", "the credentials may not use this model at Google's API"),
    _NOT_FOUND: ("provider_not_found", "Google's API knows no such model, operation or file"),
}


def blocked() -> Failure:
    """The provider's own safety checks refused the prompt, or threw the video away."""
    return Failure(
        "safety_block",
        "content_policy_violation",
        "Google's safety checks refused the prompt or the video; change the prompt and try again",
    )


def _retry_info(body: Mapping[str, Any]) -> float | None:
    """Seconds from a google.rpc.RetryInfo: `"retryDelay": "37s"`."""
    details = body.get("details")
    for detail in details if isinstance(details, list) else ():
        delay = detail.get("retryDelay") if isinstance(detail, Mapping) else None
        if isinstance(delay, str) and delay.endswith("s"):
            return _seconds(delay[:-1])
    return None


def _retry_header(error: errors.APIError, now_s: float) -> float | None:
    headers = getattr(error.response, "headers", None)
    value = headers.get("retry-after") if headers is not None else None
    if not isinstance(value, str):
        return None
    seconds = _seconds(value)
    if seconds is not None:
        return seconds
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now_s)
    except ValueError:
        return None


def _seconds(text: str) -> float | None:
    """A finite, non-negative number of seconds, or None."""
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None
