"""What a PromQL query found, as the JSON that Prometheus writes: written by hand, since a range has many numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from rushes.web.api.numbers import number, stamp

if TYPE_CHECKING:
    from rushes.query.promql import QueryResult, Series

__all__ = ["result_json"]

# How a bucket treats its ends, in Prometheus' numbers.
_LEFT_OPEN: Final = 0
_RIGHT_OPEN: Final = 1
_CLOSED: Final = 3


def result_json(found: QueryResult) -> str:
    """The value of the reply's `result`."""
    series = found.series
    match found.kind:
        case "vector":
            return f"[{','.join(_instant(one) for one in series)}]"
        case "scalar":
            return _pair(stamp(series[0].timestamps[0]), number(series[0].values[0]))
        case "string":
            return f"[{stamp(series[0].timestamps[0])},{_text(found.text)}]"
    stamps = _Stamps()
    return f"[{','.join(_range(one, stamps) for one in series)}]"


class _Stamps:
    """Times as text: the series of a range share theirs."""

    def __init__(self) -> None:
        self._of: Sequence[float] | None = None
        self._texts: list[str] = []

    def __call__(self, times: Sequence[float]) -> list[str]:
        if times is not self._of:
            self._of = times
            self._texts = [stamp(at) for at in times]
        return self._texts


def _instant(one: Series) -> str:
    at = stamp(one.timestamps[0])
    if one.histograms and one.histograms[0] is not None:
        return f'{{"metric":{_text(one.labels)},"histogram":[{at},{_histogram(one.histograms[0])}]}}'
    return f'{{"metric":{_text(one.labels)},"value":{_pair(at, number(one.values[0]))}}}'


def _range(one: Series, stamps: _Stamps) -> str:
    times = stamps(one.timestamps)
    parts = [f'"metric":{_text(one.labels)}']
    histograms = one.histograms or [None] * len(times)
    if one.histograms:
        kept = [(at, v) for at, v, h in zip(times, one.values, histograms, strict=True) if h is None]
        values = [_pair(at, number(value)) for at, value in kept]
    else:
        values = [_pair(at, number(value)) for at, value in zip(times, one.values, strict=True)]
    if values:
        parts.append(f'"values":[{",".join(values)}]')
    native = [
        f"[{at},{_histogram(each)}]" for at, each in zip(times, histograms, strict=True) if each is not None
    ]
    if native:
        parts.append(f'"histograms":[{",".join(native)}]')
    return f"{{{','.join(parts)}}}"


def _pair(at: str, value: str) -> str:
    return f'[{at},"{value}"]'


def _histogram(of: Any) -> str:
    """A native histogram with the buckets that aren't empty, from the lowest to the highest."""
    buckets = []
    for low, high, count in zip(*(ends.tolist() for ends in of.buckets()), strict=True):
        if count == 0:
            continue
        if of.custom:
            ends = _CLOSED if low == -float("inf") else _LEFT_OPEN
        elif low <= 0 <= high:
            ends = _CLOSED
        else:
            ends = _LEFT_OPEN if low > 0 else _RIGHT_OPEN
        buckets.append(f'[{ends},"{number(low)}","{number(high)}","{number(count)}"]')
    listed = f',"buckets":[{",".join(buckets)}]' if buckets else ""
    return f'{{"count":"{number(float(of.count))}","sum":"{number(float(of.sum))}"{listed}}}'


def _text(of: Any) -> str:
    return json.dumps(of, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
