"""What the APIs for traces, logs and videos answer when something is wrong: a sentence, and which parameter."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from rushes.query.promql import PromQLError
from rushes.store.interface import StoreError, StoreUnavailable
from rushes.web.api.answers import Answer, Api, Workers, answered, as_json
from rushes.web.parameters import BadParameterError

__all__ = ["NotFoundError", "endpoint", "guarded"]


class NotFoundError(Exception):
    """There is no such thing; the text says which."""


def guarded(work: Callable[[], Answer], problem: Callable[[int, Exception], dict[str, Any]]) -> Answer:
    """The work's answer, or `problem` (a body made of the status and the exception) for what can go wrong."""
    try:
        return work()
    except BadParameterError as error:
        return Answer(as_json(problem(400, error)), 400, "bad_data")
    except NotFoundError as error:
        return Answer(as_json(problem(404, error)), 404, "not_found")
    except PromQLError as error:  # of links and GPU lanes, which ask for metrics; what they ask is ours
        status = 503 if error.error_type in {"timeout", "canceled"} else 422
        return Answer(as_json(problem(status, error)), status, error.error_type)
    except StoreUnavailable as error:
        return Answer(as_json(problem(503, error)), 503, "unavailable")
    except StoreError as error:
        return Answer(as_json(problem(500, error)), 500, "execution")


def endpoint(
    handler: Callable[[Request], Answer], api: Api, workers: Workers
) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint that answers with what the handler, run in a thread, makes of a request."""

    async def answer(request: Request) -> Response:
        return await answered(
            request, lambda: guarded(lambda: handler(request), _problem), api=api, workers=workers
        )

    return answer


def _problem(_: int, error: Exception) -> dict[str, Any]:
    if isinstance(error, BadParameterError):
        return {"error": str(error), "parameter": error.name, "value": error.value}
    return {"error": str(error)}
