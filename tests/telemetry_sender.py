"""Telemetry put into the tests' store: over OTLP as programs send it, or as rows where the rows are the point."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from otlp_messages import logs_request, trace_request
from rushes.ingest import Receiver
from rushes.store.schema import ARROW
from telemetry_store import NOW_NS, NOW_S, shared_store

__all__ = ["S", "put_series", "say", "send", "span"]

S = 1_000_000_000
_ids = itertools.count(1)


def send(signal: Any, request: Any) -> None:
    receiver = Receiver(shared_store(), clock_ns=lambda: NOW_NS + 40_000 * S)
    reply = asyncio.run(receiver.receive(signal, request.SerializeToString()))
    assert not reply.HasField("partial_success"), reply
    receiver.close()


def span(trace_id: bytes, name: str, start: int, duration: int, *, service: str = "svc", **more: Any) -> str:
    """Stores a span that starts `start` nanoseconds after the tests' time; its id."""
    span_id: bytes = more.pop("span_id", os.urandom(8))
    request = trace_request(
        trace_id,
        name=name,
        span_id=span_id,
        start_time_unix_nano=NOW_NS + start,
        end_time_unix_nano=NOW_NS + start + duration,
        **more,
    )
    for attribute in request.resource_spans[0].resource.attributes:
        if attribute.key == "service.name":
            attribute.value.string_value = service
    send("traces", request)
    return span_id.hex()


def say(event: str, at_s: float, *, service: str = "studio", level: int = 9, **fields: Any) -> None:
    """Stores a log record of this time, in seconds after the tests' time."""
    trace_id = fields.pop("trace_id", b"")
    send(
        "logs",
        logs_request(
            service,
            time_unix_nano=NOW_NS + round(at_s * S),
            severity_number=level,
            severity_text="",
            trace_id=trace_id,
            attributes={"event": event, "component": "worker"} | fields,
        ),
    )


def put_series(
    metric: str, series: Sequence[tuple[Mapping[str, str], Sequence[tuple[float, float]]]]
) -> None:
    """Stores series as they are: labels, and (seconds after the tests' time, value)."""
    store = shared_store()
    rows = [(next(_ids) + (os.getpid() << 20), labels, samples) for labels, samples in series]
    store.insert(
        "series",
        pa.Table.from_pylist(
            [
                {"metric": metric, "series_id": i, "labels": list(labels.items()), "last_seen": NOW_S + 60}
                for i, labels, _ in rows
            ],
            schema=ARROW["series"],
        ),
    )
    store.insert(
        "samples",
        pa.Table.from_pylist(
            [
                {"metric": metric, "series_id": i, "ts": round((NOW_S + at) * 1000), "value": value}
                for i, _, samples in rows
                for at, value in samples
            ],
            schema=ARROW["samples"],
        ),
    )
