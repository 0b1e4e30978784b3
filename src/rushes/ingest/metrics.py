"""Metrics: OTLP's export requests into samples, histograms, series, exemplars and metric descriptions.

Names stay exactly as the instrument has them: no unit and no `_total` is ever added.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa

from rushes.ingest.batch import Batch
from rushes.ingest.classic import Classic
from rushes.ingest.columns import Clockwork
from rushes.ingest.nested import Bools, Ints, owners
from rushes.ingest.numbers import take_numbers
from rushes.ingest.origins import items, parsed_resource
from rushes.ingest.otlp_wire import OTLP
from rushes.ingest.points import Named, Points
from rushes.ingest.stats import Reason
from rushes.ingest.targets import Target
from rushes.ingest.walked import Walk

__all__ = ["MetricsRequest"]

_LEAST_BYTES: Final = 8  # that a metric or a point which means anything takes
_DELTA: Final = 1
_CUMULATIVE: Final = 2
_KINDS: Final = ("gauge", "sum", "histogram", "exponential", "summary")
_WITHOUT_TEMPORALITY: Final = ("gauge", "summary")

_NAME: Final = Reason("bad_name", "metric has no name, or a very long one")
_TEMPORALITY: Final = Reason("no_temporality", "sum or histogram that is neither cumulative nor delta")


class MetricsRequest:
    """An encoded export request, decoded as far as to know its metrics, which takes no lock.

    Raises:
        UndecodableBody: the body isn't such a request.
    """

    def __init__(self, body: bytes) -> None:
        self._budget = 1024 + len(body) // _LEAST_BYTES
        self._items = items("MetricsRequest", body)
        self._columns = OTLP.many("Metric", self._items.encoded, self._budget)

    @property
    def has_deltas(self) -> bool:
        """Whether any point says what was added, instead of what there is in all."""
        return any(
            bool((self._columns.column(kind).field("temporality").to_numpy() == _DELTA).any())
            for kind in _KINDS
            if kind not in _WITHOUT_TEMPORALITY
        )

    def take(self, batch: Batch, clock: Clockwork, classic: Classic) -> None:
        """Add the acceptable points to a batch.

        Raises:
            UndecodableBody: what the metrics consist of isn't what it should be.
        """
        targets = [
            Target(parsed_resource(raw), batch) for raw in self._items.resources.field("resource").to_pylist()
        ]
        metrics = self._named([targets[number] for number in self._items.resource.tolist()], batch)
        numbers: list[tuple[Any, Ints]] = []
        walk = Walk(batch, clock)
        for kind in _KINDS:
            column = self._columns.column(kind)
            if column.null_count == len(column):
                continue
            points, metric_of = _points(column, kind, metrics, batch)
            delta = (
                np.zeros(len(metric_of), bool)
                if kind in _WITHOUT_TEMPORALITY
                else column.field("temporality").to_numpy()[metric_of] == _DELTA
            )
            if kind in ("gauge", "sum"):
                numbers.append(_chosen(points, metric_of, ~delta))
            elif kind == "histogram":
                encoded, owner = _chosen(points, metric_of, ~delta)
                found = OTLP.many("HistogramPoint", encoded, self._budget)
                classic.take(Points(found, owner, metrics, batch, clock))
            _walked(walk, kind, (points, metric_of), delta, metrics)
        if numbers:
            encoded = pa.concat_arrays([column for column, _ in numbers])
            found = OTLP.many("NumberPoint", encoded, self._budget)
            owner = np.concatenate([of for _, of in numbers])
            take_numbers(Points(found, owner, metrics, batch, clock))
        for target in targets:
            target.tell(batch)

    def _named(self, targets: list[Target], batch: Batch) -> list[Named]:
        """Name, target and kind of each metric; the descriptions go to the batch."""
        columns = self._columns
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


def _walked(walk: Walk, kind: str, points: tuple[Any, Ints], delta: Bools, metrics: list[Named]) -> None:
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


def _points(column: Any, kind: str, metrics: list[Named], batch: Batch) -> tuple[Any, Ints]:
    """The encoded points of a kind and the metric of each, without those of metrics that can't be had."""
    lists = column.field("items")
    encoded, metric_of = lists.flatten(), owners(lists)
    longest = batch.limits.value_length
    named = np.array([0 < len(metric.name) <= longest for metric in metrics], bool)[metric_of]
    batch.refusals.refuse(_NAME, int((~named).sum()))
    if kind in _WITHOUT_TEMPORALITY:
        return _chosen(encoded, metric_of, named)
    temporality = column.field("temporality").to_numpy()[metric_of]
    known = (temporality == _DELTA) | (temporality == _CUMULATIVE)
    batch.refusals.refuse(_TEMPORALITY, int((named & ~known).sum()))
    return _chosen(encoded, metric_of, named & known)


def _chosen(encoded: Any, owner: Ints, keep: Any) -> tuple[Any, Ints]:
    if keep.all():
        return encoded, owner
    return encoded.filter(pa.array(keep)), owner[keep]
