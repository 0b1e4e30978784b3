"""Metrics: OTLP's export requests into samples, histograms, series, exemplars and metric descriptions.

Names stay exactly as the instrument has them: no unit and no `_total` is ever added.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa

from rushes.ingest.attributes import split
from rushes.ingest.batch import Batch
from rushes.ingest.classic import Classic
from rushes.ingest.columns import Clockwork
from rushes.ingest.nested import Ints, owners
from rushes.ingest.numbers import take_numbers
from rushes.ingest.origins import items, parsed_resource
from rushes.ingest.otlp_wire import OTLP
from rushes.ingest.points import Named, Points
from rushes.ingest.stats import Reason
from rushes.ingest.walked import Walk

__all__ = ["take_metrics"]

_LEAST_BYTES: Final = 8  # that a metric or a point which means anything takes
_DELTA: Final = 1
_CUMULATIVE: Final = 2
_KINDS: Final = ("gauge", "sum", "histogram", "exponential", "summary")

_NAME: Final = Reason("bad_name", "metric has no name, or a very long one")
_TEMPORALITY: Final = Reason("no_temporality", "sum or histogram that is neither cumulative nor delta")


def take_metrics(body: bytes, batch: Batch, clock: Clockwork, classic: Classic) -> None:
    """Add the acceptable points of an encoded export request to a batch.

    Raises:
        UndecodableBody: the body isn't such a request.
    """
    budget = 1024 + len(body) // _LEAST_BYTES
    of = items("MetricsRequest", body)
    columns = OTLP.many("Metric", of.encoded, budget)
    targets: dict[bytes, dict[str, str]] = {}
    for raw in of.resources:
        if raw not in targets:
            targets[raw] = _target(split(parsed_resource(raw).attributes, batch.limits, batch.refusals)[0])
    of_target = [targets[raw] for raw in of.resources]
    metrics = _named(columns, [of_target[number] for number in of.resource.tolist()], batch)
    numbers: list[tuple[Any, Ints]] = []
    walk = Walk(batch, clock)
    for kind in _KINDS:
        column = columns.column(kind)
        if column.null_count == len(column):
            continue
        points, metric_of = _points(column, kind, metrics, batch)
        temporality = column.field("temporality").to_numpy()[metric_of]
        delta = temporality == _DELTA if kind not in ("gauge", "summary") else np.zeros(len(metric_of), bool)
        if kind in ("gauge", "sum"):
            numbers.append(_chosen(points, metric_of, ~delta))
        elif kind == "histogram":
            encoded, owner = _chosen(points, metric_of, ~delta)
            found = OTLP.many("HistogramPoint", encoded, budget)
            classic.take(Points(found, owner, metrics, batch, clock))
        _walked(walk, kind, (points, metric_of), delta, metrics)
    if numbers:
        encoded = pa.concat_arrays([column for column, _ in numbers])
        found = OTLP.many("NumberPoint", encoded, budget)
        take_numbers(Points(found, np.concatenate([owner for _, owner in numbers]), metrics, batch, clock))


def _walked(walk: Walk, kind: str, points: tuple[Any, Ints], delta: Any, metrics: list[Named]) -> None:
    """Walk the points of a kind that are not taken as columns."""
    every = kind in ("exponential", "summary")
    chosen = np.ones(len(delta), bool) if every else delta
    encoded, owner = _chosen(*points, chosen)
    of_delta = delta[chosen].tolist()
    for raw, number, adds in zip(encoded.to_pylist(), owner.tolist(), of_delta, strict=True):
        metric = metrics[number]
        match kind:
            case "sum":
                walk.delta_sum(raw, metric)
            case "histogram":
                walk.delta_histogram(raw, metric)
            case "exponential":
                walk.exponential(raw, metric, delta=adds)
            case _:
                walk.summary(raw, metric)


def _target(resource: dict[str, str]) -> dict[str, str]:
    """The labels job and instance of a resource, as Prometheus makes them."""
    service, namespace = resource.get("service.name", ""), resource.get("service.namespace", "")
    found = {}
    if service:
        found["job"] = f"{namespace}/{service}" if namespace else service
    if resource.get("service.instance.id"):
        found["instance"] = resource["service.instance.id"]
    return found


def _named(columns: Any, targets: list[dict[str, str]], batch: Batch) -> list[Named]:
    """Name, target and kind of each metric; the descriptions go to the batch."""
    names = columns.column("name").to_pylist()
    helps, units = columns.column("description").to_pylist(), columns.column("unit").to_pylist()
    kinds = [""] * len(names)
    for kind in _KINDS:
        there = np.flatnonzero(columns.column(kind).is_valid().to_numpy(zero_copy_only=False)).tolist()
        monotonic = columns.column(kind).field("monotonic").to_numpy(zero_copy_only=False)
        for number in there:
            word = {"exponential": "histogram", "sum": "counter" if monotonic[number] else "gauge"}
            kinds[number] = word.get(kind, kind)
    for name, kind, help_, unit in zip(names, kinds, helps, units, strict=True):
        if kind and name and len(name) <= batch.limits.value_length:
            batch.describe(name, kind, help_, unit)
    return [Named(*each) for each in zip(names, targets, kinds, strict=True)]


def _points(column: Any, kind: str, metrics: list[Named], batch: Batch) -> tuple[Any, Ints]:
    """The encoded points of a kind and the metric of each, without those of metrics that can't be had."""
    lists = column.field("items")
    encoded, metric_of = lists.flatten(), owners(lists)
    longest = batch.limits.value_length
    named = np.array([0 < len(metric.name) <= longest for metric in metrics], bool)[metric_of]
    batch.refusals.refuse(_NAME, int((~named).sum()))
    if kind in ("gauge", "summary"):
        return _chosen(encoded, metric_of, named)
    temporality = column.field("temporality").to_numpy()[metric_of]
    known = (temporality == _DELTA) | (temporality == _CUMULATIVE)
    batch.refusals.refuse(_TEMPORALITY, int((named & ~known).sum()))
    return _chosen(encoded, metric_of, named & known)


def _chosen(encoded: Any, owner: Ints, keep: Any) -> tuple[Any, Ints]:
    if keep.all():
        return encoded, owner
    return encoded.filter(pa.array(keep)), owner[keep]
