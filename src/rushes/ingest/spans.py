"""Spans: OTLP's messages into the columns of `spans`."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from rushes.ingest.attribute_columns import attributes
from rushes.ingest.attributes import compact, split
from rushes.ingest.columns import Clockwork, checked
from rushes.ingest.limits import Limits, UndecodableBody
from rushes.ingest.nested import constant, hexes, member, members, shortened
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
    keep = _kept(spans, clock, refusals)
    if not keep.all():
        spans, of = spans.filter(pa.array(keep)), of.where(keep)
    if not spans.num_rows:
        return ARROW["spans"].empty_table(), set()
    found = attributes(spans.column("attributes"), limits, refusals, budget=budget)
    trace_id = hexes(spans.column("trace_id"))
    origins = of.origins(limits, refusals)
    start, status = spans.column("start").to_numpy(), spans.column("status")
    short = {name: shortened(spans.column(name), limits.value_length)[0] for name in ("trace_state", "name")}
    message = pc.fill_null(pc.struct_field(status, "message"), "")
    table = pa.table(
        {
            "ts": pa.array(start.astype(np.int64)),
            "trace_id": trace_id,
            "span_id": hexes(spans.column("span_id")),
            "parent_span_id": hexes(spans.column("parent_span_id")),
            "trace_state": short["trace_state"],
            "name": short["name"],
            "kind": _word(_KINDS, spans.column("kind")),
            "service": origins.service,
            "duration": pa.array(spans.column("end").to_numpy() - start),
            "status": _word(_STATUSES, pc.fill_null(pc.struct_field(status, "code"), 0)),
            "status_message": shortened(message, limits.value_length)[0],
            "attributes": found.strings,
            "attributes_typed": found.typed,
            "resource": origins.resource,
            "resource_typed": origins.resource_typed,
            "scope_name": origins.scope_name,
            "scope_version": origins.scope_version,
            "events": _each(spans.column("events"), _event, budget, limits, refusals),
            "links": _each(spans.column("links"), _link, budget, limits, refusals),
            "flags": spans.column("flags"),
            "rest": members(member("exact", found.exact), member("dropped", _dropped(spans)), origins.rest),
        }
    ).select(ARROW["spans"].names)
    return table.cast(ARROW["spans"]), set(pc.unique(trace_id).to_pylist())


def _dropped(spans: Any) -> Any:
    """How many attributes, events and links each span had lost before it came, as JSON; "" for none."""
    counts = [spans.column(f"dropped_{what}") for what in ("attributes", "events", "links")]
    if not any(pc.max(of).as_py() for of in counts):
        return constant("", spans.num_rows)
    written = pc.binary_join_element_wise(*(of.cast(pa.string()) for of in counts), ",")
    return pc.if_else(pc.equal(written, "0,0,0"), "", pc.binary_join_element_wise("[", written, "]", ""))


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
        found.append(compact([each for each in of if each]) if of else "")
    return pa.array(found, pa.string())


def _event(raw: bytes, limits: Limits, refusals: Refusals) -> dict[str, Any]:
    event = parsed(Span.Event(), raw)
    return {
        "name": event.name[: limits.value_length],
        "time_ns": event.time_unix_nano,
        **_attributes(event, limits, refusals),
    }


def _link(raw: bytes, limits: Limits, refusals: Refusals) -> dict[str, Any]:
    """A link; nothing, counted as cut, if it leads nowhere."""
    link = parsed(Span.Link(), raw)
    if len(link.trace_id) != _TRACE_ID_BYTES or len(link.span_id) != _SPAN_ID_BYTES:
        refusals.cut += 1
        return {}
    rest = {"trace_state": link.trace_state[: limits.value_length], "flags": link.flags}
    return {
        "trace_id": link.trace_id.hex(),
        "span_id": link.span_id.hex(),
        **_attributes(link, limits, refusals),
        **{name: value for name, value in rest.items() if value},
    }


def _attributes(of: Any, limits: Limits, refusals: Refusals) -> dict[str, Any]:
    """The attributes of an event or a link, and what they don't say."""
    found = split(of.attributes, limits, refusals)
    rest = {"exact": found.exact, "dropped": of.dropped_attributes_count}
    return {"attributes": found.readable, **{name: value for name, value in rest.items() if value}}
