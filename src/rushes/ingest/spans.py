"""Spans: OTLP's messages into the columns of `spans`."""

from __future__ import annotations

import json
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from rushes.ingest.attribute_columns import attributes
from rushes.ingest.attributes import split
from rushes.ingest.columns import Clockwork, checked
from rushes.ingest.limits import Limits, UndecodableBody
from rushes.ingest.nested import constant, hexes, shortened
from rushes.ingest.origins import items
from rushes.ingest.otlp_wire import OTLP
from rushes.ingest.stats import Reason, Refusals
from rushes.ingest.wire import parsed
from rushes.store.schema import ARROW

__all__ = ["span_table"]

_KINDS: Final = pa.array(["unspecified", "internal", "server", "client", "producer", "consumer"])
_STATUSES: Final = pa.array(["unset", "ok", "error"])
_TRACE_ID_BYTES: Final = 16
_SPAN_ID_BYTES: Final = 8
_LEAST_BYTES: Final = 8  # that a span or an attribute which means anything takes

_BAD_TRACE: Final = Reason("bad_trace_id", "trace id is not 16 bytes with one that isn't zero")
_BAD_SPAN: Final = Reason("bad_span_id", "span id is not 8 bytes with one that isn't zero")
_BAD_PARENT: Final = Reason("bad_span_id", "parent span id is not 8 bytes")
_NEGATIVE: Final = Reason("negative_duration", "span ends before it starts")


def span_table(body: bytes, clock: Clockwork, limits: Limits, refusals: Refusals) -> tuple[Any, set[str]]:
    """The acceptable spans of an encoded export request as the store's table, and the ids of their traces.

    Raises:
        UndecodableBody: the body isn't such a request.
    """
    budget = 1024 + len(body) // _LEAST_BYTES
    of = items("TracesRequest", body)
    spans = OTLP.many("Span", of.encoded, budget)
    scope_of, resource_of = of.scope, of.resource
    keep = _kept(spans, clock, refusals)
    if not keep.all():
        mask = pa.array(keep)
        spans, scope_of, resource_of = spans.filter(mask), scope_of[keep], resource_of[keep]
    if not spans.num_rows:
        return ARROW["spans"].empty_table(), set()
    found = attributes(spans.column("attributes"), limits, refusals, budget=budget)
    trace_id = hexes(spans.column("trace_id"))
    service, resource, resource_typed = (
        column.take(pa.array(resource_of)) for column in of.origins(limits, refusals)
    )
    start, status = spans.column("start").to_numpy(), spans.column("status")
    short = {name: shortened(spans.column(name), limits.value_length)[0] for name in ("trace_state", "name")}
    message = pc.fill_null(pc.struct_field(status, "message"), "")
    table = pa.table(
        [
            pa.array(start.astype(np.int64)),
            trace_id,
            hexes(spans.column("span_id")),
            hexes(spans.column("parent_span_id")),
            short["trace_state"],
            short["name"],
            _word(_KINDS, spans.column("kind")),
            service,
            pa.array(spans.column("end").to_numpy() - start),
            _word(_STATUSES, pc.fill_null(pc.struct_field(status, "code"), 0)),
            shortened(message, limits.value_length)[0],
            found.strings,
            found.typed,
            resource,
            resource_typed,
            *(of.scope_texts(name, limits).take(pa.array(scope_of)) for name in ("name", "version")),
            _each(spans.column("events"), _event, budget, limits, refusals),
            _each(spans.column("links"), _link, budget, limits, refusals),
        ],
        names=ARROW["spans"].names,
    )
    return table.cast(ARROW["spans"]), set(pc.unique(trace_id).to_pylist())


def _kept(spans: Any, clock: Clockwork, refusals: Refusals) -> Any:
    trace_id, span_id, parent = (spans.column(name) for name in ("trace_id", "span_id", "parent_span_id"))
    start, end = spans.column("start").to_numpy(), spans.column("end").to_numpy()
    of_parent = pc.binary_length(parent).to_numpy()
    return checked(
        [
            (_BAD_TRACE, ~_identifies(trace_id, _TRACE_ID_BYTES)),
            (_BAD_SPAN, ~_identifies(span_id, _SPAN_ID_BYTES)),
            (_BAD_PARENT, (of_parent != 0) & (of_parent != _SPAN_ID_BYTES)),
            (_NEGATIVE, end < start),
            *clock.complaints(start),
            *clock.complaints(end),
        ],
        refusals,
    )


def _identifies(ids: Any, size: int) -> Any:
    """Which ids have this many bytes, and not all of them zero."""
    return (pc.binary_length(ids).to_numpy() == size) & ~pc.equal(ids, bytes(size)).to_numpy(
        zero_copy_only=False
    )


def _word(words: Any, numbers: Any) -> Any:
    found = numbers.to_numpy()
    return words.take(pa.array(np.where((found >= 0) & (found < len(words)), found, 0)))


def _each(lists: Any, one: Any, budget: int, limits: Limits, refusals: Refusals) -> Any:
    """JSON of each row's events or links, which few spans have: walked one by one."""
    announced = len(lists.flatten())
    if not announced:
        return constant("", len(lists))
    if announced > budget:
        raise UndecodableBody(f"the body announces {announced} events or links, which can't be")
    found = []
    for encoded in lists.to_pylist():
        refusals.cut += max(0, len(encoded) - limits.attributes)
        of = [one(raw, limits, refusals) for raw in encoded[: limits.attributes]]
        found.append(json.dumps(of, separators=(",", ":"), ensure_ascii=False) if of else "")
    return pa.array(found, pa.string())


def _event(raw: bytes, limits: Limits, refusals: Refusals) -> dict[str, Any]:
    event = parsed(Span.Event(), raw)
    return {
        "name": event.name[: limits.value_length],
        "time_ns": event.time_unix_nano,
        "attributes": _merged(event.attributes, limits, refusals),
    }


def _link(raw: bytes, limits: Limits, refusals: Refusals) -> dict[str, Any]:
    link = parsed(Span.Link(), raw)
    return {
        "trace_id": link.trace_id.hex(),
        "span_id": link.span_id.hex(),
        "attributes": _merged(link.attributes, limits, refusals),
    }


def _merged(of: Any, limits: Limits, refusals: Refusals) -> dict[str, Any]:
    strings, typed = split(of, limits, refusals)
    return strings | typed
