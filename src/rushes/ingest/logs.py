"""Log records: OTLP's messages into the columns of `logs`.

The specification's fields (event, request_id, component, worker_id) become columns of their own; all other
attributes are the context.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from rushes.ingest.attribute_columns import attributes, texts
from rushes.ingest.columns import Clockwork, checked
from rushes.ingest.limits import Limits
from rushes.ingest.nested import hexes, shortened
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
    resource_of = of.resource
    time, observed = records.column("time").to_numpy(), records.column("observed").to_numpy()
    ts = np.where(time != 0, time, np.where(observed != 0, observed, clock.now_ns)).astype(np.uint64)
    keep = checked(clock.complaints(ts), refusals)
    if not keep.all():
        records, resource_of, ts = records.filter(pa.array(keep)), resource_of[keep], ts[keep]
    if not records.num_rows:
        return ARROW["logs"].empty_table(), set()
    found = attributes(records.column("attributes"), limits, refusals, _OWN, budget=budget)
    component, worker_id, event, request_id = found.own
    named, _ = shortened(records.column("event_name"), limits.value_length)
    trace_id = _ids(records.column("trace_id"), 16)
    severity = np.clip(records.column("severity_number").to_numpy(), 0, 24)
    text = texts(records.column("body"), limits, refusals)
    service, resource, resource_typed = (
        column.take(pa.array(resource_of)) for column in of.origins(limits, refusals)
    )
    table = pa.table(
        [
            pa.array(ts.astype(np.int64)),
            trace_id,
            _ids(records.column("span_id"), 8),
            _levels(records.column("severity_text"), severity),
            pa.array(severity.astype(np.uint8)),
            service,
            component,
            worker_id,
            pc.if_else(pc.equal(event, ""), named, event),
            request_id,
            pc.if_else(pa.array(text.missing), "", text.text),
            found.strings,
            found.typed,
            resource,
            resource_typed,
        ],
        names=ARROW["logs"].names,
    )
    return table.cast(ARROW["logs"]), set(pc.unique(trace_id).to_pylist()) - {""}


def _ids(ids: Any, size: int) -> Any:
    """Ids as hex; one of another size, or all zeros, says that there is none."""
    fits = pc.and_(pc.equal(pc.binary_length(ids), size), pc.not_equal(ids, bytes(size)))
    return hexes(pc.if_else(fits, ids, b""))


def _levels(written: Any, severity: Any) -> Any:
    """The level's name as the record has it, else that of its number."""
    different = written.dictionary_encode()
    names = [_level(text) for text in different.dictionary.to_pylist()]
    named = pa.array(names, pa.string()).take(different.indices)
    return pc.if_else(pc.equal(named, ""), _LEVELS.take(pa.array(severity)), named)


def _level(text: str) -> str:
    text = text.strip().upper()[:_LEVEL_LENGTH]
    return _NAMES.get(text, text)
