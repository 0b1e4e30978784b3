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
    points = points.taken(checked(complaints, points.batch.refusals))
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
    points.exemplars(lambda point, _: int(numbers[point]))


def _numbers(points: Points) -> Ints:
    """The series of each point, -1 for those that are refused."""
    start, ts = (points.number("start") // NS_PER_MS).tolist(), points.ts_ms.tolist()

    def named(point: int) -> tuple[str, dict[str, str]] | None:
        labels = points.labels(point)
        return None if labels is None else (points.metrics[points.metric_of[point]].name, labels)

    def born(point: int) -> tuple[int, int] | None:
        is_counter = points.metrics[points.metric_of[point]].kind == "counter"
        return (start[point], ts[point]) if is_counter else None

    return points.batch.numbers(points.keys(), named, born=born)
