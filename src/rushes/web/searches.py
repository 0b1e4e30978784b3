"""Pages that are asked for something: search in traces and logs, and the metrics explorer.

Their forms' fields have the API's names, so a page's URL and the API's differ in the path alone; but times, which
are as on every page. What can't be read is said at its field, with what else was given left as it was.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool

from rushes.catalog import MODELS, TIERS
from rushes.query import TRACE_ORDERS, TRACE_STATUSES, LogFilter, SpanFilter
from rushes.web import numbers, parameters, timerange
from rushes.web.api.asked import log_filter, span_filter, trace_order
from rushes.web.story import iso
from rushes.web.tones import series_tone, state

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.templating import Jinja2Templates

    from rushes.query import TraceSummary
    from rushes.web.facades import Logs, Traces

__all__ = ["Searches"]

_NS: Final = 1_000_000_000
_ROWS: Final = 100
_LINES: Final = 500
_MAX_POINTS: Final = 11_000
_LEVELS: Final = ("DEBUG", "INFO", "WARN", "ERROR", "FATAL")
_REQUEST_FIELDS: Final = ("since_ns", "start_ns", "end_ns")


@dataclass(frozen=True, slots=True)
class _Refused:
    """What can't be read: which field, and what to write instead."""

    field: str
    text: str


class Searches:
    """The endpoints of the search pages.

    Args:
        traces: where traces are looked for.
        logs: where log records are.
        templates: the pages.
        clock_ns: the time, in Unix nanoseconds.
    """

    def __init__(
        self, traces: Traces, logs: Logs, templates: Jinja2Templates, clock_ns: Callable[[], int]
    ) -> None:
        self._traces = traces
        self._logs = logs
        self._templates = templates
        self._clock_ns = clock_ns

    async def traces(self, request: Request) -> Response:
        """Traces with a span that fits, newest first or as asked."""
        rows: list[dict[str, Any]] = []
        refused = None
        try:
            start_ns, end_ns = self._times(request)
            asked = replace(span_filter(request), start_ns=start_ns, end_ns=end_ns)
            _in_order(asked)
            order = trace_order(request)
            found = await run_in_threadpool(lambda: self._traces.find(asked, order=order, limit=_ROWS))
            rows = [_trace_row(summary) for summary in found]
        except (parameters.BadParameterError, timerange.BadTimeRangeError) as error:
            refused = _refusal(error)
        return self._page(
            request,
            "traces.html",
            "traces",
            refused,
            rows=rows,
            full=len(rows) == _ROWS,
            attributes=[*filter(None, request.query_params.getlist("attribute")), ""],
            statuses=TRACE_STATUSES,
            orders=TRACE_ORDERS,
            models=MODELS,
            tiers=TIERS,
        )

    async def logs(self, request: Request) -> Response:
        """The newest log records that fit; the page then follows the log, unless an end was asked for."""
        lines: Sequence[Mapping[str, Any]] = []
        refused, tail = None, None
        try:
            start_ns, end_ns = self._times(request)
            asked = replace(log_filter(request), start_ns=start_ns, end_ns=end_ns)
            lines = await run_in_threadpool(lambda: self._logs.find(asked, limit=_LINES))
            if end_ns is None:
                tail = _api_query(asked)
        except (parameters.BadParameterError, timerange.BadTimeRangeError) as error:
            refused = _refusal(error)
        data = {"lines": lines, "tail": tail, "filtered": bool(request.query_params)}
        return self._page(request, "logs.html", "logs", refused, data=data, levels=_LEVELS, limit=_LINES)

    async def explore(self, request: Request) -> Response:
        """The metrics explorer: the page asks Prometheus' API for what its URL says."""
        refused, data = None, None
        over = timerange.parse({}, self._clock_ns() / 1e9)
        try:
            over = timerange.parse(_given(request), self._clock_ns() / 1e9)
            step = _step(request, over)
            data = {
                "query": parameters.text(request, "query") or "",
                "start": over.start_s,
                "end": over.end_s,
                "step": step,
            }
        except (parameters.BadParameterError, timerange.BadTimeRangeError) as error:
            refused = _refusal(error)
        return self._page(
            request,
            "explore.html",
            "explore",
            refused,
            data=data,
            over=over,
        )

    def _times(self, request: Request) -> tuple[int | None, int | None]:
        """The range asked for, in nanoseconds since the epoch; None is no bound."""
        given = _given(request)
        if not given.keys() & {"range", "from", "to"}:
            return None, None
        if "to" in given and "from" not in given:
            return None, round(timerange.moment(given["to"], "to") * _NS)
        over = timerange.parse(given, self._clock_ns() / 1e9)
        end_ns = round(over.end_s * _NS) if "to" in given else None
        return round(over.start_s * _NS), end_ns

    def _page(
        self, request: Request, template: str, page: str, refused: _Refused | None, **context: Any
    ) -> Response:
        query = {name: value for name, value in request.query_params.items() if value}
        return self._templates.TemplateResponse(
            request,
            template,
            {
                "page": page,
                "query": query,
                "refused": refused,
                "spans_of_time": list(timerange.RELATIVE),
                **context,
            },
            status_code=200 if refused is None else 400,
        )


def _given(request: Request) -> dict[str, str]:
    """The parameters that say something: forms send empty ones, too."""
    return {name: value for name, value in request.query_params.items() if value.strip()}


def _refusal(error: parameters.BadParameterError | timerange.BadTimeRangeError) -> _Refused:
    return _Refused(error.name if isinstance(error, parameters.BadParameterError) else "range", str(error))


def _in_order(asked: SpanFilter) -> None:
    shortest, longest = asked.min_duration_ms, asked.max_duration_ms
    if shortest is not None and longest is not None and shortest > longest:
        raise parameters.BadParameterError(
            "max_duration_ms", f"{longest:g}", f"at least the shortest, {shortest:g} ms"
        )


def _step(request: Request, over: timerange.TimeRange) -> float:
    step = parameters.number(request, "step")
    if step is None:
        return over.step_s
    if not over.length_s / _MAX_POINTS <= step <= over.length_s:
        least = math.ceil(over.length_s / _MAX_POINTS)
        wanted = f"from {least} to {over.length_s:.0f} seconds for this range"
        raise parameters.BadParameterError("step", request.query_params["step"], wanted)
    return step


def _api_query(asked: LogFilter) -> str:
    """The query string with which /api/logs/tail asks the same."""
    given = {f.name: getattr(asked, f.name) for f in fields(asked) if f.name not in _REQUEST_FIELDS}
    if asked.start_ns is not None:
        given["start"] = f"{asked.start_ns / _NS:.3f}"
    return urlencode({name: value for name, value in given.items() if value is not None})


def _trace_row(summary: TraceSummary) -> dict[str, Any]:
    return {
        "id": summary.trace_id,
        "name": summary.root_name or "(root not here yet)",
        "service": summary.service,
        "status": {"error": "Error", "ok": "OK"}.get(summary.status, "No error"),
        "state": state(summary.status),
        "spans": summary.span_count,
        "took": numbers.duration(summary.duration_ns / 1e9),
        "took_ns": summary.duration_ns,
        "started": iso(summary.start_ns),
        "started_ms": summary.start_ns // 1_000_000,
        "request_id": summary.request_id,
        "model": summary.model,
        "tone": series_tone(summary.model) if summary.model else 0,
    }
