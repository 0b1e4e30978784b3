"""Prometheus' HTTP API, answered as Prometheus answers, so that Grafana and promtool work against it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from rushes.query import Readers
from rushes.query.promql import PromQLError, QueryResult
from rushes.store.interface import StoreError, StoreUnavailable
from rushes.web.api.numbers import duration, moment, number

__all__ = ["routes"]

_STATUS: Final = {"bad_data": 400, "execution": 422}
_MAX_FORM: Final = 1 << 20

_T = TypeVar("_T")
_Handler = Callable[["_Parameters"], Any]


class _Parameters:
    """A request's parameters, from its query string and its form; each reader names what it can't use."""

    def __init__(self, pairs: Sequence[tuple[str, str]], path: Mapping[str, Any]) -> None:
        self._pairs = pairs
        self.path = path

    def all(self, name: str) -> list[str]:
        return [value for key, value in self._pairs if key == name]

    def text(self, name: str) -> str | None:
        found = self.all(name)
        return found[0] if found else None

    def needed(self, name: str) -> str:
        found = self.text(name)
        if not found:
            raise PromQLError("bad_data", f"parameter {name!r} is missing")
        return found

    def time(self, name: str, default: float | None = None) -> float:
        found = self.text(name)
        if found is None and default is not None:
            return default
        return self._read(name, moment, self.needed(name))

    def since(self) -> float | None:
        return None if self.text("start") is None else self.time("start")

    def step(self) -> float:
        return self._read("step", duration, self.needed("step"))

    def limit(self, default: int) -> int:
        found = self.text("limit")
        if found is None:
            return default
        limit = self._read("limit", int, found)
        if limit < 0:
            raise PromQLError("bad_data", f"invalid parameter 'limit': {limit} is negative")
        return limit or default

    @staticmethod
    def _read(name: str, reader: Callable[[str], _T], text: str) -> _T:
        try:
            return reader(text)
        except (ValueError, OverflowError) as error:
            raise PromQLError(
                "bad_data", f"invalid parameter {name!r}: cannot parse {text[:200]!r}"
            ) from error


def routes(readers: Readers, *, version: str = "") -> list[BaseRoute]:
    """Routes under /api/v1; `version` is this program's, for buildinfo."""
    promql, index = readers.promql, readers.series

    def query(given: _Parameters) -> Any:
        return _result(promql.instant(given.needed("query"), given.time("time", time.time())))

    def query_range(given: _Parameters) -> Any:
        start, end = given.time("start"), given.time("end")
        return _result(promql.range(given.needed("query"), start, end, given.step()))

    def series(given: _Parameters) -> Any:
        match = given.all("match[]")
        if not match:
            raise PromQLError("bad_data", "no match[] parameter provided")
        return index.series(match, given.since(), given.limit(100_000))

    def labels(given: _Parameters) -> Any:
        return index.labels(given.all("match[]"), given.since())[: given.limit(100_000)]

    def label_values(given: _Parameters) -> Any:
        values = index.label_values(str(given.path["name"]), given.all("match[]"), given.since())
        return values[: given.limit(100_000)]

    def metadata(given: _Parameters) -> Any:
        found = index.metadata(given.text("metric"), given.limit(100_000))
        return {
            name: [{"type": about.type or "unknown", "help": about.help, "unit": about.unit}]
            for name, about in found.items()
        }

    def query_exemplars(given: _Parameters) -> Any:
        found = index.exemplars(given.needed("query"), given.time("start"), given.time("end"))
        return [
            {
                "seriesLabels": series.labels,
                "exemplars": [
                    {
                        "labels": each.labels,
                        "value": number(each.value),
                        "timestamp": _seconds(each.ts_ms / 1000),
                    }
                    for each in series.exemplars
                ],
            }
            for series in found
        ]

    return [
        _route("/api/v1/query", query, post=True),
        _route("/api/v1/query_range", query_range, post=True),
        _route("/api/v1/series", series, post=True),
        _route("/api/v1/labels", labels, post=True),
        _route("/api/v1/label/{name}/values", label_values),
        _route("/api/v1/metadata", metadata),
        _route("/api/v1/query_exemplars", query_exemplars, post=True),
        _route("/api/v1/rules", lambda _: {"groups": []}),
        _route("/api/v1/alerts", lambda _: {"alerts": []}),
        _route("/api/v1/status/buildinfo", lambda _: _build_info(version)),
    ]


def _build_info(version: str) -> dict[str, str]:
    # Grafana reads the version to know which of Prometheus' endpoints it may use.
    return {
        "version": "3.0.0",
        "revision": f"rushes-{version}",
        "branch": "",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    }


def _route(path: str, handler: _Handler, *, post: bool = False) -> Route:
    return Route(path, _endpoint(handler), methods=["GET", "POST"] if post else ["GET"])


def _endpoint(handler: _Handler) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            given = _Parameters(await _pairs(request), request.path_params)
            found = await run_in_threadpool(handler, given)
        except PromQLError as error:
            return _error(_STATUS[error.error_type], error.error_type, error.message)
        except StoreUnavailable as error:
            return _error(503, "unavailable", str(error))
        except StoreError as error:
            return _error(422, "execution", str(error))
        body: dict[str, Any] = {"status": "success"}
        if isinstance(found, _Answer):
            body |= {"data": found.data} | ({"warnings": found.warnings} if found.warnings else {})
        else:
            body["data"] = found
        return JSONResponse(body)

    return endpoint


async def _pairs(request: Request) -> list[tuple[str, str]]:
    """Parameters of the form first, as Prometheus reads them, then of the query string."""
    pairs = list(request.query_params.multi_items())
    if request.method == "POST":
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "application/x-www-form-urlencoded":
            body = bytearray()
            async for chunk in request.stream():
                body += chunk
                if len(body) > _MAX_FORM:
                    raise PromQLError("bad_data", f"the form has more than {_MAX_FORM} bytes")
            try:
                pairs = parse_qsl(body.decode(), keep_blank_values=True) + pairs
            except ValueError as error:
                raise PromQLError("bad_data", f"the form can't be read: {error}") from error
    return pairs


class _Answer:
    """Data with warnings beside it."""

    def __init__(self, data: Any, warnings: list[str]) -> None:
        self.data = data
        self.warnings = warnings


def _error(status: int, kind: str, message: str) -> Response:
    return JSONResponse({"status": "error", "errorType": kind, "error": message}, status_code=status)


def _seconds(seconds: float) -> float | int:
    return int(seconds) if seconds == int(seconds) else round(seconds, 3)


def _result(found: QueryResult) -> _Answer:
    series = found.series
    result: Any
    match found.kind:
        case "matrix":
            result = [
                {
                    "metric": one.labels,
                    "values": [
                        [_seconds(at), number(value)]
                        for at, value in zip(one.timestamps, one.values, strict=True)
                    ],
                }
                for one in series
            ]
        case "vector":
            result = [
                {"metric": one.labels, "value": [_seconds(one.timestamps[0]), number(one.values[0])]}
                for one in series
            ]
        case "scalar":
            result = [_seconds(series[0].timestamps[0]), number(series[0].values[0])]
        case "string":
            result = [_seconds(series[0].timestamps[0]), found.text]
    return _Answer({"resultType": found.kind, "result": result}, found.warnings)
