"""A trace made ready for the waterfall: a tree without loops, self time, the critical path, stage colours.

Spans come from other people's programs: parents may be missing, point at themselves or in circles, and children
may outlive their parents. All of it must still be drawn.
"""

from __future__ import annotations

import hashlib
import heapq
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from rushes.catalog import ROOT
from rushes.query import SpanRow
from rushes.web.tones import stage_kind

__all__ = ["critical_path", "forest", "is_sum", "self_time", "trace_view"]

Interval = tuple[int, int]

_MAX_TEXT: Final = 4000
_MAX_GAPS: Final = 200
_MAX_HEADS: Final = 16
_REST: Final = "other"  # of a step: what no module accounts for is the step's own


def trace_view(spans: Sequence[SpanRow]) -> dict[str, Any]:
    """The trace for the browser.

    Spans that are sums over modules take nothing from their parent's picture and lie on no critical path.

    Times are nanoseconds after `origin_ns`, the earliest start (a string: it exceeds a JavaScript number).
    """
    ordered = sorted(spans, key=lambda s: (s.start_ns, -s.duration_ns, s.span_id))
    known = {s.span_id for s in ordered}
    parents, children = forest(ordered)
    by_id = {s.span_id: s for s in ordered}
    origin = ordered[0].start_ns if ordered else 0
    kinds: dict[str, str] = {}
    resources: dict[str, Mapping[str, str]] = {}
    rows = []
    for span_id in _preorder(children):
        span, parent = by_id[span_id], parents[span_id]
        kinds[span_id] = stage_kind(span.name) or (kinds[parent] if parent else "other")
        resource = _texts(span.resource)
        key = _digest(resource)
        resources[key] = resource
        row: dict[str, Any] = {
            "id": span_id,
            "parent": parent,
            "name": span.name,
            "service": span.service,
            "kind": str(span.kind),
            "stage": kinds[span_id],
            "start": span.start_ns - origin,
            "dur": span.duration_ns,
            "status": span.status,
            "message": (span.status_message or "")[:_MAX_TEXT],
            "attrs": _texts(span.attributes),
            "resource": key,
            "events": [
                {"name": str(e["name"]), "at": int(e["time_ns"]) - origin, "attrs": _texts(e["attributes"])}
                for e in span.events
            ],
        }
        if parent is not None and span.parent_span_id not in known:
            row["missing_parent"] = span.parent_span_id
        inside = [by_id[c] for c in children.get(span_id, ())]
        if inside:
            placed = [c for c in inside if not is_sum(c)]
            gaps = self_time(span, placed)
            sums = sum(c.duration_ns for c in inside if is_sum(c) and c.name != _REST)
            row["self_ns"] = max(0, sum(end - start for start, end in gaps) - sums)
            if placed:
                row["self"] = [(start - origin, end - origin) for start, end in _widest(gaps)]
        rows.append(row)
    return {
        "origin_ns": str(origin),
        "spans": rows,
        "resources": resources,
        "critical": [(i, start - origin, end - origin) for i, start, end in critical_path(by_id, children)],
    }


def is_sum(span: SpanRow) -> bool:
    """Whether a span adds up what many modules took, between each other: its length counts, its place doesn't."""
    return span.attributes.get("rushes.aggregated") is True


def forest(spans: Sequence[SpanRow]) -> tuple[dict[str, str | None], dict[str | None, list[str]]]:
    """Parent and children of each span, in the spans' order.

    A span whose parent is missing (its process was killed before that ended, or it has not come yet) lies under
    the root that ran when it began; without such a root, and in a circle, it is a root itself.
    """
    parents: dict[str, str | None] = {s.span_id: s.parent_span_id or None for s in spans}
    settled: set[str] = set()
    for span_id in parents:
        way: list[str] = []
        at: str | None = span_id
        seen: set[str] = set()
        while at is not None and at not in settled and at not in seen:
            seen.add(at)
            way.append(at)
            parent = parents[at]
            if parent is not None and (parent not in parents or parent in seen):
                parents[at] = parent = None  # its parent has not come (yet), or it is its own ancestor
            at = parent
        settled.update(way)
    _adopt(spans, parents)
    children: dict[str | None, list[str]] = defaultdict(list)
    for span_id, parent in parents.items():
        children[parent].append(span_id)
    return parents, dict(children)


def _adopt(spans: Sequence[SpanRow], parents: dict[str, str | None]) -> None:
    """Puts spans whose parent is missing under a root: a request's own, else any that never had a parent."""
    roots = [s for s in spans if parents[s.span_id] is None]
    # A request's root may have a parent too: its caller's, who need not tell us of it.
    heads = [s for s in roots if s.name == ROOT or not s.parent_span_id]
    longest = heapq.nlargest(_MAX_HEADS, heads, key=lambda s: s.duration_ns)
    for span in roots:
        if span.name == ROOT or not span.parent_span_id or span.parent_span_id in parents:
            continue
        around = (h for h in longest if h.start_ns <= span.start_ns <= h.start_ns + h.duration_ns)
        head = min(around, key=lambda h: (h.name != ROOT, h.duration_ns), default=None)
        parents[span.span_id] = head.span_id if head else None


def self_time(span: SpanRow, children: Iterable[SpanRow]) -> list[Interval]:
    """The stretches of the span's time in which none of its children ran."""
    end = span.start_ns + span.duration_ns
    gaps: list[Interval] = []
    at = span.start_ns
    for child in sorted(children, key=lambda c: c.start_ns):
        if child.start_ns > at:
            gaps.append((at, min(child.start_ns, end)))
        at = max(at, child.start_ns + child.duration_ns)
        if at >= end:
            break
    if at < end:
        gaps.append((at, end))
    return [(a, b) for a, b in gaps if b > a]


def critical_path(
    spans: Mapping[str, SpanRow], children: Mapping[str | None, Sequence[str]]
) -> list[tuple[str, int, int]]:
    """The stretches that the trace's end waited for: shortening any other changes nothing.

    Walked backwards from the end of the longest root: whichever child ended last was waited for.
    """
    roots = children.get(None, ())
    if not roots:
        return []
    root = max(roots, key=lambda i: spans[i].duration_ns)
    found: list[tuple[str, int, int]] = []
    stack = [(root, spans[root].start_ns, spans[root].start_ns + spans[root].duration_ns)]
    while stack:
        span_id, start, cursor = stack.pop()
        for child_id in sorted(
            (i for i in children.get(span_id, ()) if not is_sum(spans[i])),
            key=lambda i: spans[i].start_ns + spans[i].duration_ns,
            reverse=True,
        ):
            child = spans[child_id]
            child_start = max(child.start_ns, start)
            child_end = min(child.start_ns + child.duration_ns, cursor)
            if child_start >= child_end:
                continue
            if child_end < cursor:
                found.append((span_id, child_end, cursor))
            stack.append((child_id, child_start, child_end))
            cursor = child_start
        if start < cursor:
            found.append((span_id, start, cursor))
    return sorted(found, key=lambda f: (f[1], f[2]))


def _preorder(children: Mapping[str | None, Sequence[str]]) -> Iterable[str]:
    stack = list(reversed(children.get(None, ())))
    while stack:
        span_id = stack.pop()
        yield span_id
        stack.extend(reversed(children.get(span_id, ())))


def _widest(gaps: list[Interval]) -> list[Interval]:
    if len(gaps) <= _MAX_GAPS:
        return gaps
    return sorted(sorted(gaps, key=lambda g: g[0] - g[1])[:_MAX_GAPS])


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {str(k)[:200]: _text(v)[:_MAX_TEXT] for k, v in values.items()}


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, default=str, ensure_ascii=False)


def _digest(value: Mapping[str, str]) -> str:
    return hashlib.blake2s(json.dumps(value, sort_keys=True).encode(), digest_size=6).hexdigest()
