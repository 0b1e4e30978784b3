"""What goes on being refused is said in words for the page, and no longer than it goes on."""

from __future__ import annotations

import asyncio

from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from otlp_messages import attributes, metrics_request, trace_request
from rushes.ingest import Limits, Receiver
from telemetry_store import NOW_NS, shared_store, unique

S = 1_000_000_000


def many(name: str, first: int, count: int) -> bytes:
    metric = Metric(name=name)
    for number in range(first, first + count):
        metric.gauge.data_points.add(
            as_int=1, time_unix_nano=NOW_NS, attributes=attributes({"n": str(number)})
        )
    return metrics_request(metric).SerializeToString()


def test_a_metric_with_too_many_series_is_named_while_it_goes_on() -> None:
    now = [NOW_NS]
    receiver = Receiver(shared_store(), clock_ns=lambda: now[0], limits=Limits(series_per_metric=5))
    name = unique("exploding")
    asyncio.run(receiver.receive("metrics", many(name, 0, 8)))
    assert receiver.problems() == [], "once is no problem"
    now[0] += 60 * S
    asyncio.run(receiver.receive("metrics", many(name, 100, 2000)))
    wanted = f"metrics: 2,003 rows refused since 00:00:00 UTC: {name} has more than 5 series"
    assert receiver.problems() == [wanted]
    now[0] += 179 * S
    assert receiver.problems() == [wanted]
    now[0] += 1 * S
    assert receiver.problems() == []
    asyncio.run(receiver.receive("metrics", many(name, 3000, 1)))
    assert receiver.problems() == [], "another beginning"
    receiver.close()


def test_refused_requests_and_refused_rows_are_told_apart() -> None:
    receiver = Receiver(shared_store(), clock_ns=lambda: NOW_NS)
    late = trace_request(start_time_unix_nano=NOW_NS + 700 * S, end_time_unix_nano=NOW_NS + 700 * S, count=3)
    for _ in range(2):
        asyncio.run(receiver.receive("traces", late.SerializeToString()))
        receiver.refuse("logs", "too_large")
    assert receiver.problems() == [
        "traces: 6 rows refused since 00:00:00 UTC: timestamp more than 600 s in the future",
        "logs: 2 requests refused since 00:00:00 UTC: the request is larger than allowed",
    ]
    receiver.close()


def test_a_clock_that_jumps_back_ends_no_service_and_begins_anew() -> None:
    now = [NOW_NS]
    receiver = Receiver(shared_store(), clock_ns=lambda: now[0])
    for _ in range(2):
        receiver.refuse("logs", "overloaded")
    now[0] -= 3600 * S
    assert receiver.problems() == []
    for _ in range(2):
        receiver.refuse("logs", "overloaded")
    assert receiver.problems() == ["logs: 2 requests refused since 23:00:00 UTC: too much is at hand already"]
    receiver.close()
