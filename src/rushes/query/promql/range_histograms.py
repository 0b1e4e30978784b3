"""Range functions where a window has native histograms: their rates, sums and means, and what ignores them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from rushes.query.promql.model import NAME, Integers, Vector
from rushes.query.promql.native import Histogram, IncompatibleHistograms
from rushes.query.promql.notes import Notes
from rushes.query.promql.selectors import Windows

__all__ = ["overlaid"]

_NEAR: Final = 1.1
_Sample = float | Histogram


@dataclass(slots=True)
class _Window:
    """One window: every sample in it, and where it lies (milliseconds)."""

    samples: list[_Sample]
    ts: Integers
    end: int
    range_ms: int
    metric: str
    notes: Notes

    def only_histograms(self) -> list[Histogram]:
        """All samples if all are histograms, else none and a remark."""
        found = [sample for sample in self.samples if isinstance(sample, Histogram)]
        if len(found) < len(self.samples):
            self.notes.mixed(self.metric)
            return []
        return found


def overlaid(name: str, of: Windows, floats: Windows, result: Vector, notes: Notes) -> Vector:
    """What the function gives for numbers, with the windows that have histograms as they should be."""
    if of.histograms is None:
        return result
    touched = (of.high - of.low) > (floats.high - floats.low)
    function = _FUNCTIONS.get(name)
    values, present = result.values.copy(), result.present.copy()
    histograms = np.full(values.shape, None, dtype=np.object_)
    for row, column in np.argwhere(touched).tolist():
        metric = of.labels[row].get(NAME, "")
        if function is None:
            # Numbers alone count; where there are some, what was left out is told.
            if present[row, column]:
                notes.ignored_in_range(metric)
            continue
        span = slice(of.low[row, column], of.high[row, column])
        samples: list[_Sample] = [
            value if histogram is None else histogram
            for value, histogram in zip(of.values[span].tolist(), of.histograms[span].tolist(), strict=True)
        ]
        window = _Window(samples, of.ts[span], int(of.times[column]), of.range_ms, metric, notes)
        try:
            found = function(window)
        except IncompatibleHistograms:
            notes.incompatible(metric)
            found = None
        present[row, column] = found is not None
        if isinstance(found, Histogram):
            histograms[row, column] = found
            values[row, column] = np.nan
        elif found is not None:
            values[row, column] = found
    return Vector(result.labels, values, present, histograms)


def _extrapolated(window: _Window, *, counter: bool, per_second: bool) -> Histogram | None:
    histograms = window.only_histograms()
    if len(histograms) < 2:  # noqa: PLR2004  there is no rate of one
        return None
    first, last = histograms[0], histograms[-1]
    if counter and any(each.gauge for each in histograms):
        window.notes.histogram_not_counter(window.metric)
    if not counter and not (first.gauge and last.gauge):
        window.notes.histogram_not_gauge(window.metric)
    start = first
    if counter and histograms[1].is_reset_of(first):
        # The first is not looked at, whatever its layout.
        start = Histogram(histograms[1].schema, 0.0, 0.0, bounds=histograms[1].bounds)
    rise = last.plus(start, -1.0)
    if counter:
        before = start
        for each in histograms[1:]:
            if each.is_reset_of(before):
                rise = rise.plus(before)
            before = each
    factor = _factor(window, first.count if counter else None, rise.count)
    if per_second:
        factor /= window.range_ms / 1000
    return replace(rise.compact().scaled(factor), gauge=True)


def _factor(window: _Window, first: float | None, rise: float) -> float:
    first_ms, last_ms = int(window.ts[0]), int(window.ts[-1])
    sampled = (last_ms - first_ms) / 1000
    average = sampled / (len(window.ts) - 1)
    to_start = (first_ms - (window.end - window.range_ms)) / 1000
    to_end = (window.end - last_ms) / 1000
    if to_start >= average * _NEAR:
        to_start = average / 2
    if first is not None and rise > 0 and first >= 0:
        to_start = min(to_start, sampled * (first / rise))
    if to_end >= average * _NEAR:
        to_end = average / 2
    return (sampled + to_start + to_end) / sampled


def _instant(window: _Window, *, counter: bool) -> Histogram | float | None:
    if len(window.samples) < 2:  # noqa: PLR2004  likewise
        return None
    before, last = window.samples[-2:]
    seconds = int(window.ts[-1] - window.ts[-2]) / 1000
    if isinstance(before, Histogram) and isinstance(last, Histogram):
        if counter and (before.gauge or last.gauge):
            window.notes.histogram_not_counter(window.metric)
        if not counter and not (before.gauge and last.gauge):
            window.notes.histogram_not_gauge(window.metric)
        rise = last if counter and last.is_reset_of(before) else last.plus(before, -1.0)
        rise = replace(rise.compact(), gauge=True)
        return rise.divided(seconds) if counter else rise
    if isinstance(before, Histogram) or isinstance(last, Histogram):
        window.notes.mixed(window.metric)
        return None
    if not counter:
        return last - before
    return (last if last < before else last - before) / seconds


def _total(window: _Window) -> Histogram | None:
    histograms = window.only_histograms()
    if not histograms:
        return None
    total = histograms[0]
    for each in histograms[1:]:
        total = total.plus(each)
    return total


def _mean(window: _Window) -> Histogram | None:
    total = _total(window)
    return None if total is None else total.divided(float(len(window.samples)))


def _changes(window: _Window) -> float:
    def same(a: _Sample, b: _Sample) -> bool:
        if isinstance(a, Histogram) and isinstance(b, Histogram):
            return a.equals(b)
        if isinstance(a, Histogram) or isinstance(b, Histogram):
            return False
        return a == b or (a != a and b != b)  # noqa: PLR0124  not-a-number is not itself

    pairs = zip(window.samples, window.samples[1:], strict=False)
    return float(sum(not same(a, b) for a, b in pairs))


def _resets(window: _Window) -> float:
    def fell(before: _Sample, now: _Sample) -> bool:
        if isinstance(before, Histogram) and isinstance(now, Histogram):
            return now.is_reset_of(before)
        if isinstance(before, Histogram) or isinstance(now, Histogram):
            return True
        return now < before

    pairs = zip(window.samples, window.samples[1:], strict=False)
    return float(sum(fell(a, b) for a, b in pairs))


_FUNCTIONS: Final[dict[str, Callable[[_Window], _Sample | None]]] = {
    "rate": lambda window: _extrapolated(window, counter=True, per_second=True),
    "increase": lambda window: _extrapolated(window, counter=True, per_second=False),
    "delta": lambda window: _extrapolated(window, counter=False, per_second=False),
    "irate": lambda window: _instant(window, counter=True),
    "idelta": lambda window: _instant(window, counter=False),
    "sum_over_time": _total,
    "avg_over_time": _mean,
    "count_over_time": lambda window: float(len(window.samples)),
    "present_over_time": lambda _: 1.0,
    "absent_over_time": lambda _: 1.0,
    "first_over_time": lambda window: window.samples[0],
    "last_over_time": lambda window: window.samples[-1],
    "changes": _changes,
    "resets": _resets,
}
