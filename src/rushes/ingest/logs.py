"""Log records: OTLP's messages into the columns of `logs`.

The specification's fields (event, request_id, component, worker_id) become columns of their own; all other
attributes are the context.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rushes.ingest.attribute_columns import Texts, attributes, texts
from rushes.ingest.attributes import compact
from rushes.ingest.columns import Clockwork, checked
from rushes.ingest.limits import Limits
from rushes.ingest.nested import Bools, constant, hexes, member, members, shortened
from rushes.ingest.origins import items
from rushes.ingest.otlp_wire import OTLP
from rushes.ingest.stats import Refusals
from rushes.store.schema import ARROW

__all__ = ["log_table"]

_OWN: Final = ("component", "worker_id", "event", "request_id")
_NAMES: Final = {"WARNING": "WARN", "CRITICAL": "FATAL", "NOTICE": "INFO"}
# OpenTelemetry's severity numbers come in groups of four.
_GROUPS: Final = ("TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL")
_LEVELS: Final = pa.array(["INFO", *(group for group in _GROUPS for _ in range(4))])
_LEVEL_LENGTH: Final = 32
_LEAST_BYTES: Final = 4  # that a record or an attribute which means anything takes


def log_table(body: bytes, clock: Clockwork, limits: Limits, refusals: Refusals) -> tuple[Any, set[str]]:
    """The acceptable records of an encoded export request as the store's table, and the ids of their traces.

    Raises:
        UndecodableBody: the body isn't such a request.
    """
    budget = 1024 + len(body) // _LEAST_BYTES
    of = items("LogsRequest", body)
    records = OTLP.many("LogRecord", of.encoded, budget)
    time, observed = records.column("time").to_numpy(), records.column("observed").to_numpy()
    ts = np.where(time != 0, time, np.where(observed != 0, observed, clock.now_ns)).astype(np.uint64)
    keep = checked(clock.complaints(ts), refusals)
    if not keep.all():
        records, of, ts = records.filter(pa.array(keep)), of.where(keep), ts[keep]
    if not records.num_rows:
        return ARROW["logs"].empty_table(), set()
    found = attributes(records.column("attributes"), limits, refusals, _OWN, budget=budget)
    component, worker_id, event, request_id = found.own
    named, _ = shortened(records.column("event_name"), limits.value_length)
    trace_id = _ids(records.column("trace_id"), 16)
    severity = np.clip(records.column("severity_number").to_numpy(), 0, 24)
    written, _ = shortened(records.column("severity_text"), limits.value_length)
    text = texts(records.column("body"), limits, refusals)
    origins = of.origins(limits, refusals)
    rest = members(
        member("exact", found.exact),
        member("body", _exact(text)),
        member("event_name", _event_name(named, event)),
        member("dropped", _unless_zero(records.column("dropped_attributes"))),
        _where(records.column("time").to_numpy() == 0, '"untimed":true'),
        origins.rest,
    )
    table = pa.table(
        {
            "ts": pa.array(ts.astype(np.int64)),
            "trace_id": trace_id,
            "span_id": _ids(records.column("span_id"), 8),
            "level": _levels(written, severity),
            "severity": pa.array(severity.astype(np.uint8)),
            "service": origins.service,
            "component": component,
            "worker_id": worker_id,
            "event": pc.if_else(pc.equal(event, ""), named, event),
            "request_id": request_id,
            "body": pc.if_else(pa.array(text.missing), "", text.text),
            "context": found.strings,
            "context_typed": found.typed,
            "resource": origins.resource,
            "resource_typed": origins.resource_typed,
            "observed_ts": pa.array(records.column("observed").to_numpy().astype(np.int64)),
            "severity_text": written,
            "flags": records.column("flags"),
            "scope_name": origins.scope_name,
            "scope_version": origins.scope_version,
            "rest": rest,
        }
    ).select(ARROW["logs"].names)
    return table.cast(ARROW["logs"]), set(pc.unique(trace_id).to_pylist()) - {""}


def _exact(body: Texts) -> Any:
    """JSON of what each body is that isn't text, or is an empty one; "" for others."""
    other, none = body.is_other, constant("", len(body.missing))
    return pc.replace_with_mask(none, pa.array(other), body.exact(other)) if other.any() else none


def _event_name(named: Any, event: Any) -> Any:
    """JSON of the record's own name for its event: null if that is the column's, "" if it has none."""
    if pc.all(pc.equal(named, "")).as_py():
        return constant("", len(named))
    pairs = zip(named.to_pylist(), event.to_pylist(), strict=True)
    return pa.array(["" if not name else compact(name) if of else "null" for name, of in pairs], pa.string())


def _where(there: Bools, text: str) -> Any:
    return pc.if_else(pa.array(there), text, "") if there.any() else constant("", len(there))


def _unless_zero(counts: Any) -> Any:
    if not pc.max(counts).as_py():
        return constant("", len(counts))
    return pc.if_else(pc.equal(counts, 0), "", counts.cast(pa.string()))


def _ids(ids: Any, size: int) -> Any:
    """Ids as hex; one of another size, or all zeros, says that there is none."""
    fits = pc.and_(pc.equal(pc.binary_length(ids), size), pc.not_equal(ids, bytes(size)))
    return hexes(pc.if_else(fits, ids, b""))


def _levels(written: Any, severity: Any) -> Any:
    """The level by the record's number, else by the name that it has for it."""
    levels = _LEVELS.take(pa.array(severity))
    if severity.all():
        return levels
    different = written.dictionary_encode()
    names = pa.array([_level(text) for text in different.dictionary.to_pylist()], pa.string())
    named = names.take(different.indices)
    return pc.if_else(pa.array(severity != 0), levels, pc.if_else(pc.equal(named, ""), levels, named))


def _level(text: str) -> str:
    text = text.strip().upper()[:_LEVEL_LENGTH]
    return _NAMES.get(text, text)
