"""Gauges and sums: the points that are one number, which is most of them."""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow.compute as pc

from rushes.ingest.columns import checked
from rushes.ingest.histograms import STALE
from rushes.ingest.nested import Bools, Ints, as_bools
from rushes.ingest.points import NS_PER_MS, Points
from rushes.ingest.stats import Reason

__all__ = ["take_numbers"]

_NO_VALUE: Final = Reason("no_value", "data point has no value")


def take_numbers(points: Points) -> None:
    """Add the acceptable points to their batch."""
    double, whole = points.columns.column("double"), points.columns.column("int")
    has_value: Bools = as_bools(pc.or_(pc.is_valid(double), pc.is_valid(whole))) | points.ended
    complaints = [*points.clock.complaints(points.number("time")), (_NO_VALUE, ~has_value)]
    points = points.where(checked(complaints, points.batch.refusals))
    if not points.columns.num_rows:
        return
    numbers = _numbers(points)
    known = numbers >= 0
    double, whole = points.columns.column("double"), points.columns.column("int")
    values = np.where(
        as_bools(pc.is_valid(double)),
        pc.fill_null(double, 0.0).to_numpy(),
        pc.fill_null(whole, 0).to_numpy().astype(np.float64),
    )
    values[points.ended] = STALE
    points.batch.samples(numbers[known], points.ts_ms[known], values[known])
    points.exemplars(lambda point, _: numbers[point])


def _numbers(points: Points) -> Ints:
    """The series of each point, -1 for those that are refused."""
    batch = points.batch
    keys = points.keys()
    numbers = batch.series.hold(batch.series.find(keys), batch.now_s)
    start = points.number("start") // NS_PER_MS
    for point in np.flatnonzero(numbers < 0).tolist():
        again = int(batch.series.find([keys[point]])[0])  # a second point of a series that is new here
        if again >= 0:
            numbers[point] = again
            continue
        labels = points.labels(point)
        metric = points.metrics[points.metric_of[point]]
        admitted = labels is not None and batch.admit(metric.name, labels)
        if not admitted:
            continue
        numbers[point], new = admitted
        batch.series.bind(keys[point], admitted[0])
        if new and metric.kind == "counter":
            batch.born(admitted[0], int(start[point]), int(points.ts_ms[point]))
    known = np.flatnonzero(numbers >= 0)
    due = known[batch.series.use(numbers[known], batch.now_s)]
    told = set(batch.told)
    for point in due.tolist():
        if numbers[point] not in told:
            labels = points.labels(point)
            if labels is not None:
                batch.tell(int(numbers[point]), labels)
    return numbers
