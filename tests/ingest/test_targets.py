"""What metrics are of: `target_info`, as Prometheus' own OTLP receiver makes it."""

from __future__ import annotations

import asyncio
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from otlp_messages import attributes, metrics_request
from rushes.ingest import Limits, Receiver
from rushes.query.promql import PromQL
from rushes.query.series import SeriesIndex
from telemetry_store import NOW_NS, NOW_S, shared_store, unique

S = 1_000_000_000


def gauge(*at_s: int, name: str = "") -> Metric:
    metric = Metric(name=name or unique("measured"))
    for at in at_s:
        metric.gauge.data_points.add(as_int=1, time_unix_nano=NOW_NS + at * S)
    return metric


def send(request: ExportMetricsServiceRequest, limits: Limits | None = None) -> Receiver:
    receiver = Receiver(shared_store(), clock_ns=lambda: NOW_NS, limits=limits)
    reply = asyncio.run(receiver.receive("metrics", request.SerializeToString()))
    assert reply == ExportMetricsServiceResponse(), "nothing is refused"
    receiver.close()
    return receiver


def told(instance: str, query: str = "") -> list[tuple[dict[str, str], float]]:
    asked = query or f'target_info{{instance="{instance}"}}'
    return [(one.labels, one.values[0]) for one in PromQL(shared_store()).instant(asked, NOW_S + 1).series]


def test_what_a_resource_says_beyond_job_and_instance_is_in_target_info() -> None:
    instance, name = unique("i"), unique("measured")
    about: dict[str, Any] = {
        "service.instance.id": instance,
        "service.namespace": "ns",
        "host.name": "h1",
        "process.pid": 7,
        "gpu": True,
        "raw": b"\0\1",
        "__reserved": "x",
    }
    send(metrics_request(gauge(0, name=name), **about))
    labels = {
        "__name__": "target_info",
        "job": "ns/svc",
        "instance": instance,
        "host_name": "h1",
        "process_pid": "7",
        "gpu": "true",
        "raw": "AAE=",
    }
    assert told(instance) == [(labels, 1.0)]
    ((joined, value),) = told("", f"{name} * on (job, instance) group_left (host_name) target_info")
    assert (joined["host_name"], value) == ("h1", 1.0)
    about_it = SeriesIndex(shared_store()).metadata("target_info")["target_info"]
    assert (about_it.type, about_it.help) == ("gauge", "Target metadata")


def test_there_is_one_wherever_the_targets_points_are_looked_for() -> None:
    """Every two and a half minutes from the first to the last: a query looks five minutes back."""
    instance = unique("i")
    send(metrics_request(gauge(-1000, 0), gauge(-400), **{"service.instance.id": instance, "host.name": "h"}))
    ((_, count),) = told("", f'count_over_time(target_info{{instance="{instance}"}}[20m])')
    assert count == 8
    for at in range(-1000, 1, 50):
        found = PromQL(shared_store()).instant(f'target_info{{instance="{instance}"}}', NOW_S + at)
        assert len(found.series) == 1


def test_there_is_none_without_anything_to_say_or_anybody_to_say_it_of() -> None:
    instance = unique("i")
    receiver = send(metrics_request(gauge(0), **{"service.instance.id": instance}))
    assert told(instance) == []
    assert receiver.stats.samples == 1
    host = unique("h")
    nobody = metrics_request(gauge(0))
    del nobody.resource_metrics[0].resource.attributes[:]
    nobody.resource_metrics[0].resource.attributes.extend(attributes({"host.name": host}))
    send(nobody)
    assert told("", f'target_info{{host_name="{host}"}}') == []
    silent = metrics_request(**{"service.instance.id": instance, "host.name": host})
    send(silent)
    assert told(instance) == [], "a resource without points"


def test_of_too_many_attributes_the_first_are_kept_and_no_point_is_refused() -> None:
    instance = unique("i")
    more = {f"a{number}": "x" for number in range(9)}
    receiver = send(metrics_request(gauge(0), **{"service.instance.id": instance, **more}), Limits(labels=5))
    ((labels, _),) = told(instance)
    assert sorted(labels) == ["__name__", "a0", "a1", "a2", "instance", "job"]
    assert receiver.stats.cut == 6
    full = send(
        metrics_request(gauge(0), **{"service.instance.id": "other", **more}), Limits(series_per_metric=1)
    )
    assert (full.stats.cut, full.stats.refused) == (1, {})
