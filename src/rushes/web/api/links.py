"""From a trace to everything about it: its log, its video, what it measured, and the metrics around it.

The metrics around it are those with a label that says what the trace says: its model, its tier, its workers.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote, urlencode

from rushes.query import Readers, SpanRow
from rushes.web.api.metadata import Metadata
from rushes.web.api.numbers import number

__all__ = ["trace_links"]

_MARGIN_S: Final = 300.0
_POINTS: Final = 240
_MIN_STEP_S: Final = 15
_MAX_WORKERS: Final = 64
_WINDOW: Final = "5m"
_PARTS: Final = ("_bucket", "_sum", "_count")


def trace_links(spans: Sequence[SpanRow], readers: Readers) -> dict[str, Any]:
    """Paths on the control room, and PromQL, about these spans (at least one, all of one trace)."""
    trace_id = spans[0].trace_id
    start_ns = min(span.start_ns for span in spans)
    end_ns = max(span.start_ns + span.duration_ns for span in spans)
    # At least the margin on each side, so that there is a before and an after.
    margin_s = max(_MARGIN_S, (end_ns - start_ns) / 1e9)
    start_s, end_s = start_ns / 1e9 - margin_s, end_ns / 1e9 + margin_s
    request_id = _first(spans, "request_id")
    links: dict[str, Any] = {
        "trace_id": trace_id,
        "page": f"/traces/{trace_id}",
        "trace": f"/api/traces/{trace_id}",
        "logs": f"/api/logs?trace_id={trace_id}&limit=10000",
        "start": round(start_s, 3),
        "end": round(end_s, 3),
        "metrics": _metrics(spans, readers, start_s, end_s),
        "exemplars": [
            {
                "metric": each.metric,
                "labels": each.labels,
                "value": number(each.value),
                "timestamp": each.ts_ms / 1000,
                "span_id": each.span_id,
            }
            for each in readers.exemplars.of(trace_id, start_ns, end_ns)
        ],
    }
    if request_id:
        links["video"] = f"/videos/{quote(request_id, safe='')}"
    return links


def _first(spans: Sequence[SpanRow], attribute: str) -> str:
    return next((str(s.attributes[attribute]) for s in spans if s.attributes.get(attribute)), "")


def _metrics(
    spans: Sequence[SpanRow], readers: Readers, start_s: float, end_s: float
) -> list[dict[str, Any]]:
    matchers: dict[str, dict[str, str]] = {}
    for label, matcher in _matchers(spans).items():
        for name in readers.series.label_values("__name__", [f"{{{matcher}}}"], start_s):
            matchers.setdefault(name, {})[label] = matcher
    about = Metadata(readers.series).of(None, None)
    step = max(_MIN_STEP_S, round((end_s - start_s) / _POINTS))
    found = []
    for name, of_name in sorted(matchers.items()):
        base = next((name.removesuffix(part) for part in _PARTS if name.endswith(part)), name)
        is_part = base != name and about.get(base, {}).get("type") in {"histogram", "summary"}
        if is_part and not name.endswith("_bucket"):
            continue
        metric = base if is_part else name
        kind = about.get(metric, {}).get("type", "unknown")
        query = _query(name, kind, ",".join(of_name.values()))
        asked = urlencode({"query": query, "start": f"{start_s:.3f}", "end": f"{end_s:.3f}", "step": step})
        found.append(
            {
                "metric": metric,
                "type": kind,
                "help": about.get(metric, {}).get("help", ""),
                "unit": about.get(metric, {}).get("unit", ""),
                "labels": sorted(of_name),
                "query": query,
                "href": f"/api/v1/query_range?{asked}",
            }
        )
    return found


def _matchers(spans: Sequence[SpanRow]) -> dict[str, str]:
    """PromQL matchers of what the trace says, by label."""
    found = {}
    for label in ("model", "tier"):
        value = _first(spans, label)
        if value:
            found[label] = f"{label}={_quoted(value)}"
    workers = sorted({str(s.attributes["worker_id"]) for s in spans if s.attributes.get("worker_id")})
    if len(workers) == 1:
        found["worker_id"] = f"worker_id={_quoted(workers[0])}"
    elif workers:
        pattern = "|".join(re.escape(worker) for worker in workers[:_MAX_WORKERS])
        found["worker_id"] = f"worker_id=~{_quoted(pattern)}"
    return found


def _query(name: str, kind: str, matchers: str) -> str:
    selector = f"{name}{{{matchers}}}"
    if not re.fullmatch(r"[a-zA-Z_:][a-zA-Z0-9_:]*", name):
        selector = f"{{{_quoted(name)},{matchers}}}"
    if kind == "counter":
        return f"rate({selector}[{_WINDOW}])"
    if kind == "histogram":
        rates = f"rate({selector}[{_WINDOW}])"
        summed = f"sum by (le) ({rates})" if name.endswith("_bucket") else f"sum({rates})"
        return f"histogram_quantile(0.95, {summed})"
    return selector


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
