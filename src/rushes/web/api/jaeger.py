"""Jaeger's query API under /jaeger/api, so that Grafana's Jaeger data source works when pointed at /jaeger.

Paths, parameters and reply are Jaeger's own. Where Jaeger answers 500 for what a client did wrong, this answers 400.
Of its version 3, whose traces are OTLP, there is what Grafana asks where its feature flag
`jaegerEnableGrpcEndpoint` is on: services, operations and one trace.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import unquote_plus

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from rushes.query import Readers
from rushes.query.jaeger import Jaeger
from rushes.web.api.answers import Answer, Workers, answered, as_json
from rushes.web.api.numbers import duration, go_duration
from rushes.web.api.problems import NotFoundError, guarded
from rushes.web.parameters import BadParameterError, choice, text

__all__ = ["routes"]

_TRACE_ID: Final = re.compile(r"[0-9a-fA-F]{1,32}")
_WHOLE: Final = re.compile(r"[0-9]{1,18}")
_US: Final = 1000
_MS: Final = 1_000_000
_MAX_NS: Final = 1 << 62
_LOOKBACK_NS: Final = 48 * 3600 * 1_000_000_000
_DEPENDENCIES_LOOKBACK_NS: Final = 24 * 3600 * 1_000_000_000
_LIMIT: Final = 100
_MAX_LIMIT: Final = 1500
_MAX_TAGS: Final = 20
_KINDS: Final = ("internal", "server", "client", "producer", "consumer")


_Problem = Callable[[int, Exception], dict[str, Any]]


def _problem(status: int, error: Exception) -> dict[str, Any]:
    errors = [{"code": status, "msg": str(error)}]
    return {"data": None, "total": 0, "limit": 0, "offset": 0, "errors": errors}


def _problem_v3(status: int, error: Exception) -> dict[str, Any]:
    return {"error": {"httpCode": status, "message": str(error)}}


class _Api:
    """The handlers, each from a request to its answer; they block."""

    def __init__(self, jaeger: Jaeger, clock_ns: Callable[[], int]) -> None:
        self._jaeger = jaeger
        self._clock_ns = clock_ns

    def services(self, _: Request) -> Answer:
        found = self._jaeger.services()
        return _found(found, len(found))

    def operations_of(self, request: Request) -> Answer:
        service = str(request.path_params["service"])
        # Some releases of Grafana escape a service's name twice.
        names = self._jaeger.operations(service) or self._jaeger.operations(unquote_plus(service))
        found = sorted({name for name, _ in names})
        return _found(found, len(found))

    def operations(self, request: Request) -> Answer:
        service = _service(request)
        kind = choice(request, "spanKind", _KINDS)
        found = [{"name": name, "spanKind": of} for name, of in self._jaeger.operations(service, kind)]
        return _found(found, len(found))

    def traces(self, request: Request) -> Answer:
        ids = [_trace_id(one) for one in request.query_params.getlist("traceID")[:_MAX_LIMIT]]
        if ids:
            known = self._jaeger.traces(ids)
            missing = set(ids) - {each["traceID"] for each in known}
            errors = [{"msg": "trace not found", "traceID": one} for one in ids if one in missing]
            return _found(known, errors=errors or None)
        end_ns = _time(request, "end", _US, self._clock_ns())
        start_ns = _time(request, "start", _US, max(0, end_ns - _lookback(request)))
        found = self._jaeger.search(
            _service(request),
            text(request, "operation"),
            tags=_tags(request),
            times_ns=(start_ns, end_ns),
            durations_ms=_durations(request),
            limit=_limit(request),
        )
        return _found(found)

    def trace(self, request: Request) -> Answer:
        found = self._jaeger.trace(_trace_id(str(request.path_params["trace_id"])))
        if found is None:
            raise NotFoundError("trace not found")
        return _found([found])

    def services_v3(self, _: Request) -> Answer:
        return Answer(as_json({"services": self._jaeger.services()}))

    def operations_v3(self, request: Request) -> Answer:
        kind = choice(request, "span_kind", _KINDS)
        found = self._jaeger.operations(_service(request), kind)
        return Answer(as_json({"operations": [{"name": name, "spanKind": of} for name, of in found]}))

    def trace_v3(self, request: Request) -> Answer:
        found = self._jaeger.otlp(_trace_id(str(request.path_params["trace_id"])))
        if found is None:
            raise NotFoundError("trace not found")
        return Answer(as_json({"result": found}))

    def dependencies(self, request: Request) -> Answer:
        end_ns = _time(request, "endTs", _MS, self._clock_ns())
        lookback = _time(request, "lookback", _MS, _DEPENDENCIES_LOOKBACK_NS)
        wanted = text(request, "service")
        calls = self._jaeger.dependencies(max(0, end_ns - lookback), end_ns)
        return _found(
            [
                {"parent": parent, "child": child, "callCount": count}
                for parent, child, count in calls
                if wanted in {None, parent, child}
            ]
        )


def routes(
    readers: Readers, workers: Workers, *, clock_ns: Callable[[], int] = time.time_ns
) -> list[BaseRoute]:
    """Routes under /jaeger/api; `clock_ns` gives nanoseconds since the epoch."""
    of = _Api(readers.jaeger, clock_ns)

    def route(path: str, handler: Callable[[Request], Answer], problem: _Problem = _problem) -> Route:
        return Route(f"/jaeger/api/{path}", _endpoint(handler, problem, workers))

    return [
        route("services", of.services),
        route("services/{service:path}/operations", of.operations_of),
        route("operations", of.operations),
        route("traces", of.traces),
        route("traces/{trace_id}", of.trace),
        route("dependencies", of.dependencies),
        route("v3/services", of.services_v3, _problem_v3),
        route("v3/operations", of.operations_v3, _problem_v3),
        route("v3/traces/{trace_id}", of.trace_v3, _problem_v3),
    ]


def _endpoint(
    handler: Callable[[Request], Answer], problem: _Problem, workers: Workers
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return await answered(
            request, lambda: guarded(lambda: handler(request), problem), api="jaeger", workers=workers
        )

    return endpoint


def _found(data: Any, total: int = 0, errors: list[dict[str, Any]] | None = None) -> Answer:
    return Answer(as_json({"data": data, "total": total, "limit": 0, "offset": 0, "errors": errors}))


def _service(request: Request) -> str:
    found = text(request, "service")
    if found is None:
        raise BadParameterError("service", "", "given")
    return found


def _trace_id(given: str) -> str:
    """Jaeger leaves leading zeros away."""
    if not _TRACE_ID.fullmatch(given):
        raise BadParameterError("traceID", given, "up to 32 hex digits")
    return given.lower().zfill(32)


def _time(request: Request, name: str, unit_ns: int, default: int) -> int:
    value = text(request, name)
    if value is None:
        return default
    if not _WHOLE.fullmatch(value):
        raise BadParameterError(name, value, "a whole number")
    return min(int(value) * unit_ns, _MAX_NS)


def _lookback(request: Request) -> int:
    """Nanoseconds before the end, where a search has no start: Jaeger's own page says such as 1h or 2d."""
    value = text(request, "lookback")
    if value is None or value == "custom":
        return _LOOKBACK_NS
    try:
        return max(0, min(round(duration(value) * 1e9), _MAX_NS))
    except ValueError as error:
        raise BadParameterError("lookback", value, "a duration, such as 1h") from error


def _milliseconds(request: Request, name: str) -> float | None:
    value = text(request, name)
    if value is None:
        return None
    try:
        return go_duration(value) / 1e6
    except ValueError as error:
        raise BadParameterError(name, value, "a duration, such as 100ms or 1.5s") from error


def _durations(request: Request) -> tuple[float | None, float | None]:
    shortest, longest = _milliseconds(request, "minDuration"), _milliseconds(request, "maxDuration")
    if shortest is not None and longest is not None and longest < shortest:
        raise BadParameterError("maxDuration", str(text(request, "maxDuration")), "at least minDuration")
    return shortest, longest


def _limit(request: Request) -> int:
    value = text(request, "limit")
    if value is None:
        return _LIMIT
    if not _WHOLE.fullmatch(value) or not 1 <= int(value) <= _MAX_LIMIT:
        raise BadParameterError("limit", value, f"from 1 to {_MAX_LIMIT}")
    return int(value)


def _tags(request: Request) -> dict[str, str]:
    """`tags` has JSON with keys and values, `tag` has key:value."""
    found: dict[str, str] = {}
    for given in request.query_params.getlist("tag"):
        key, colon, value = given.partition(":")
        if not key or not colon:
            raise BadParameterError("tag", given, "key:value")
        found[key] = value
    for given in request.query_params.getlist("tags"):
        try:
            read = json.loads(given)
        except (ValueError, RecursionError) as error:
            raise BadParameterError("tags", given, "JSON") from error
        if not isinstance(read, dict) or not all(isinstance(value, str) for value in read.values()):
            raise BadParameterError("tags", given, "a JSON object whose values are strings")
        found |= read
    if len(found) > _MAX_TAGS:
        raise BadParameterError("tags", str(len(found)), f"at most {_MAX_TAGS}")
    return found
