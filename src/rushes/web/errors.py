"""Errors as pages that say what happened and what to do; as JSON for scripts."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from rushes.web.headers import SECURITY_HEADERS
from rushes.web.parameters import BadParameterError
from rushes.web.timerange import BadTimeRangeError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.templating import Jinja2Templates

__all__ = ["ErrorPages"]

_SHOWN: Final = 80


class ErrorPages:
    """Exception handlers of the app."""

    def __init__(self, templates: Jinja2Templates) -> None:
        self._templates = templates

    def handlers(self) -> Mapping[Any, Any]:
        """For Starlette's `exception_handlers`."""
        return {
            HTTPException: self.http,
            BadTimeRangeError: self.bad_request,
            BadParameterError: self.bad_request,
            500: self.broken,
        }

    async def http(self, request: Request, exc: Exception) -> Response:
        """Not found, not allowed, and the like."""
        error = exc if isinstance(exc, HTTPException) else HTTPException(500)
        detail = error.detail
        if (
            error.status_code == HTTPStatus.NOT_FOUND and detail == HTTPStatus.NOT_FOUND.phrase
        ):  # of the router
            path = request.url.path
            shown = path if len(path) <= _SHOWN else f"{path[:_SHOWN]}…"
            detail = f"there is nothing at {shown!r}. Go to Operations, Videos or Traces instead"
        return self._answer(request, error.status_code, detail, error.headers)

    async def bad_request(self, request: Request, exc: Exception) -> Response:
        """A time range or another parameter that can't be read."""
        return self._answer(request, 400, str(exc))

    async def broken(self, request: Request, exc: Exception) -> Response:  # noqa: ARG002 - uvicorn logs it
        """A fault of the control room itself; outside the middleware, so it brings its headers along."""
        return self._answer(
            request,
            500,
            "the control room failed to answer; its log has the cause. Loading the page again may help",
            SECURITY_HEADERS,
        )

    def _answer(
        self, request: Request, status: int, detail: str, headers: Mapping[str, str] | None = None
    ) -> Response:
        path = request.url.path
        if path.startswith(("/api/", "/live/", "/media/")) or request.method not in ("GET", "HEAD"):
            return JSONResponse({"error": detail}, status, headers)
        return self._templates.TemplateResponse(
            request,
            "error.html",
            {
                "status": status,
                "phrase": HTTPStatus(status).phrase.capitalize(),
                "detail": detail,
                "page": "",
            },
            status_code=status,
            headers=headers,
        )
