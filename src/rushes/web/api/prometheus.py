"""Prometheus' HTTP API, answered as Prometheus 3 answers, so that Grafana and promtool work against it."""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from rushes.query import Readers
from rushes.query.expressions import checked_selectors, formatted, has_selector
from rushes.query.promql import PromQLError, QueryResult
from rushes.query.promql.deadline import Deadline
from rushes.query.series import ExemplarSeries
from rushes.store.interface import StoreError, StoreUnavailable
from rushes.web.api.answers import Answer, Api, Workers, answered, as_json
from rushes.web.api.form import Form, bad_parameter
from rushes.web.api.metadata import Metadata
from rushes.web.api.numbers import number, stamp
from rushes.web.api.results import result_json
from rushes.web.api.status import LONGEST_S, Status
from rushes.web.api.targets import ScrapeTarget, Targets

__all__ = ["routes"]

_Kind = Literal["bad_data", "execution", "timeout", "canceled", "not_found", "unavailable"]
_STATUS: Final[dict[_Kind, int]] = {
    "bad_data": 400,
    "not_found": 404,
    "execution": 422,
    "canceled": 499,  # the client has closed its connection: a word of nginx that Prometheus took over
    "timeout": 503,
    "unavailable": 503,
}
_MAX_NOTES: Final = 10
_MAX_SERIES: Final = 100_000  # of the index behind
_CUT: Final = "results truncated due to limit"
# Label names of UTF-8 arrive escaped: U__ and then _hex_ for what a classic name can't have.
_ESCAPED: Final = re.compile(r"__|_([0-9a-fA-F]{1,6})_")


@dataclass
class _Found:
    """A reply's data, as JSON or as what JSON can be made of, and what is said beside it. None: there is none."""

    data: Any = None
    json: str | None = None
    warnings: list[str] = field(default_factory=list)
    infos: list[str] = field(default_factory=list)


_Handler = Callable[[Form, Deadline], _Found]


class _Api:
    """The handlers, each from parameters to what is found; they block and raise PromQLError."""

    def __init__(self, readers: Readers, clock: Callable[[], float]) -> None:
        self._readers = readers
        self._clock = clock
        self._metadata = Metadata(readers.series)

    def query(self, given: Form, deadline: Deadline) -> _Found:
        limit = given.limit()
        at = given.time_or("time", self._clock())
        lookback = given.lookback()
        promql = self._readers.promql
        return self._evaluated(
            given, limit, lambda expr: promql.instant(expr, at, deadline=deadline, lookback_s=lookback)
        )

    def query_range(self, given: Form, deadline: Deadline) -> _Found:
        limit = given.limit()
        start, end, step = given.range()
        lookback = given.lookback()
        promql = self._readers.promql
        return self._evaluated(
            given,
            limit,
            lambda expr: promql.range(expr, start, end, step, deadline=deadline, lookback_s=lookback),
        )

    def format_query(self, given: Form, _: Deadline) -> _Found:
        try:
            return _Found(formatted(given.text("query")))
        except PromQLError as error:
            raise bad_parameter("query", error.message) from error

    def series(self, given: Form, _: Deadline) -> _Found:
        limit, match = given.limit(), given.all("match[]")
        if not match:
            raise PromQLError("bad_data", "no match[] parameter provided")
        try:
            checked_selectors(match)
        except PromQLError as error:
            raise bad_parameter("match[]", error.message) from error
        times = _times(given)
        found = [] if times is None else self._readers.series.series(match, *times)
        return _shortened(found, limit)

    def labels(self, given: Form, _: Deadline) -> _Found:
        limit, match, times = given.limit(), given.all("match[]"), _times(given)
        checked_selectors(match)
        found = [] if times is None else self._readers.series.labels(match, *times)
        return _shortened(found, limit)

    def label_values(self, given: Form, _: Deadline) -> _Found:
        name = str(given.path["name"])
        if name.startswith("U__"):
            name = _unescaped(name)
        limit, match, times = given.limit(), given.all("match[]"), _times(given)
        checked_selectors(match)
        found = [] if times is None else self._readers.series.label_values(name, match, *times)
        return _shortened(found, limit)

    def metadata(self, given: Form, _: Deadline) -> _Found:
        limit, each = given.count("limit"), given.count("limit_per_metric")
        found = self._metadata.of(given.text("metric") or None, limit)
        if each == 0:
            return _Found({name: [] for name in found})
        return _Found({name: [about] for name, about in found.items()})

    def query_exemplars(self, given: Form, _: Deadline) -> _Found:
        start, end = given.time_or("start", None), given.time_or("end", None)
        start, end = _EARLIEST if start is None else start, _LATEST if end is None else end
        if end < start:
            raise PromQLError("bad_data", "end timestamp must not be before start timestamp")
        expr = given.text("query")
        if not has_selector(expr):
            return _Found()
        found = self._readers.series.exemplars(expr, start, end)
        return _Found(json=f"[{','.join(_exemplars(one) for one in found)}]")

    def rules(self, given: Form, _: Deadline) -> _Found:
        kind = given.text("type")
        if kind.lower() not in {"", "alert", "record"}:
            raise bad_parameter("type", f'not supported value "{kind[:200]}"')
        return _Found({"groups": []})

    def alerts(self, _given: Form, _deadline: Deadline) -> _Found:
        return _Found({"alerts": []})

    def _evaluated(self, given: Form, limit: int | None, evaluate: Callable[[str], QueryResult]) -> _Found:
        started = time.perf_counter()
        try:
            result = evaluate(given.text("query"))
        except PromQLError as error:
            if error.error_type == "bad_data":
                raise bad_parameter("query", error.message) from error
            raise
        warnings = _some(result.warnings, "warning")
        if limit is not None and result.kind in {"vector", "matrix"} and len(result.series) > limit:
            result = QueryResult(result.kind, result.series[:limit], result.warnings, result.text)
            warnings.append(_CUT)
        took = time.perf_counter() - started
        text = f'{{"resultType":"{result.kind}","result":{result_json(result)}'
        if given.text("stats"):
            text += f',"stats":{_json({"timings": {"evalTotalTime": took, "execTotalTime": took}})}'
        return _Found(json=text + "}", warnings=warnings, infos=_some(result.infos, "info"))


_EARLIEST: Final = -9e9
_LATEST: Final = 9e9


def routes(
    readers: Readers,
    workers: Workers,
    *,
    version: str = "",
    targets: Sequence[ScrapeTarget] = (),
    clock: Callable[[], float] = time.time,
) -> list[BaseRoute]:
    """Routes under /api/v1.

    Args:
        readers: what is asked.
        workers: whose places are used.
        version: this program's, for buildinfo.
        targets: what is scraped.
        clock: seconds since the epoch, now.
    """
    api, status, scraped = (
        _Api(readers, clock),
        Status(readers, version),
        Targets(targets, readers.promql, clock),
    )

    def route(path: str, handler: _Handler, name: Api, *, post: bool = False) -> Route:
        methods = ["GET", "POST", "OPTIONS"] if post else ["GET", "OPTIONS"]
        return Route(f"/api/v1/{path}", _endpoint(handler, name, workers), methods=methods)

    def about(path: str, handler: Callable[[Form], Any]) -> Route:
        return route(path, lambda given, _: _Found(handler(given)), "status")

    return [
        route("query", api.query, "query", post=True),
        route("query_range", api.query_range, "query_range", post=True),
        route("query_exemplars", api.query_exemplars, "query_exemplars", post=True),
        route("format_query", api.format_query, "format_query", post=True),
        route("series", api.series, "series", post=True),
        route("labels", api.labels, "labels", post=True),
        route("label/{name}/values", api.label_values, "label_values"),
        route("metadata", api.metadata, "metadata"),
        route("rules", api.rules, "rules"),
        route("alerts", api.alerts, "alerts"),
        about("status/buildinfo", status.buildinfo),
        about("status/config", status.config),
        about("status/flags", status.flags),
        about("status/runtimeinfo", status.runtimeinfo),
        about("status/tsdb", status.tsdb),
        about("targets", scraped.listed),
        about("scrape_pools", scraped.pools),
        about("alertmanagers", status.alertmanagers),
    ]


def _times(given: Form) -> tuple[float | None, float | None] | None:
    """When series must have had samples, from and to; None where no time fits."""
    start, end = given.time_or("start", None), given.time_or("end", None)
    return None if start is not None and end is not None and end < start else (start, end)


def _endpoint(handler: _Handler, name: Api, workers: Workers) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(status_code=204)
        refused: PromQLError | None = None
        given, deadline = Form([], {}), Deadline(LONGEST_S)
        try:
            given = await Form.of(request)
            if name in {"query", "query_range"}:
                deadline = Deadline(given.timeout(LONGEST_S))
        except PromQLError as error:
            refused = error

        def work() -> Answer:
            if refused is not None:
                return _refusal(refused.error_type, refused.message)
            return _answer(handler, given, deadline)

        return await answered(request, work, api=name, workers=workers, deadline=deadline)

    return endpoint


def _answer(handler: _Handler, given: Form, deadline: Deadline) -> Answer:
    try:
        try:
            deadline.check()
        except PromQLError as error:
            raise PromQLError(error.error_type, _QUEUED[error.error_type]) from error
        found = handler(given, deadline)
    except PromQLError as error:
        return _refusal(error.error_type, error.message)
    except StoreUnavailable as error:
        return _refusal("unavailable", str(error))
    except StoreError as error:
        return _refusal("execution", str(error))
    if found.json is None and found.data is None:
        return Answer(b"", 204)
    data = found.json if found.json is not None else _json(found.data)
    beside = "".join(
        f',"{name}":{_json(notes)}'
        for name, notes in (("warnings", found.warnings), ("infos", found.infos))
        if notes
    )
    return Answer(f'{{"status":"success","data":{data}{beside}}}'.encode("utf-8", "replace"))


_QUEUED: Final = {
    "timeout": "query timed out in query queue",
    "canceled": "query was canceled in query queue",
}


def _exemplars(of: ExemplarSeries) -> str:
    listed = ",".join(
        f'{{"labels":{_json(each.labels)},"value":"{number(each.value)}",'
        f'"timestamp":{stamp(each.ts_ms / 1000)}}}'
        for each in of.exemplars
    )
    return f'{{"seriesLabels":{_json(of.labels)},"exemplars":[{listed}]}}'


def _refusal(kind: _Kind, message: str) -> Answer:
    body = as_json({"status": "error", "errorType": kind, "error": message})
    return Answer(body, _STATUS[kind], kind)


def _json(data: Any) -> str:
    return as_json(data).decode()


def _shortened(found: Sequence[Any], limit: int | None) -> _Found:
    if limit is not None and len(found) > limit:
        return _Found(found[:limit], warnings=[_CUT])
    return _Found(found, warnings=[_CUT] if len(found) >= _MAX_SERIES else [])


def _some(notes: list[str], what: str) -> list[str]:
    """The first ten, and how many more there are."""
    more = len(notes) - _MAX_NOTES
    if more <= 0:
        return list(notes)
    return [*notes[:_MAX_NOTES], f"{more} more {what} annotations omitted"]


def _unescaped(name: str) -> str:
    def character(found: re.Match[str]) -> str:
        code = found.group(1)
        if code is None:
            return "_"
        number_ = int(code, 16)
        return chr(number_) if number_ < 0x110000 and not 0xD800 <= number_ < 0xE000 else "\ufffd"  # noqa: PLR2004

    return _ESCAPED.sub(character, name.removeprefix("U__"))
