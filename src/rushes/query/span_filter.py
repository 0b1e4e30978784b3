"""Which spans a search means, as conditions on the `spans` table.

A span fits if it fits every condition on spans; `model`, `tier` and `request_id` are the whole video's, and fit
where any span of the trace carries them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rushes.store.interface import Param

__all__ = ["SpanFilter"]

_LONGEST_MS: Final = 1e13  # 300 years, more than nanoseconds since the epoch can span
# A trace's spans lie this near each other: a job may wait in a queue for hours.
_TRACE_SPREAD_S: Final = 86_400
_OF_TRACE: Final = ("model", "tier", "request_id")
_FROM: Final = "ts >= fromUnixTimestamp64Nano({start_ns:Int64})"
_TO: Final = "ts <= fromUnixTimestamp64Nano({end_ns:Int64})"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanFilter:
    """Conditions that all must hold; None asks nothing.

    Attributes:
        service: the span's service.
        name: the span's name.
        kind: the span's kind, such as "server".
        status: one of TRACE_STATUSES.
        min_duration_ms: the span took at least so many milliseconds.
        max_duration_ms: and at most so many.
        attributes: names and values, as text, that the span or its resource has; a value of None asks only that
            there is one. Numbers are equal by value, `true` and `false` are booleans too.
        model: the model of the trace's video.
        tier: its tier.
        request_id: its id.
        start_ns: the span started at this time or later, in nanoseconds since the epoch.
        end_ns: and at this time or earlier.
    """

    service: str | None = None
    name: str | None = None
    kind: str | None = None
    status: str | None = None
    min_duration_ms: float | None = None
    max_duration_ms: float | None = None
    attributes: Sequence[tuple[str, str | None]] = ()
    model: str | None = None
    tier: str | None = None
    request_id: str | None = None
    start_ns: int | None = None
    end_ns: int | None = None

    @property
    def is_bounded(self) -> bool:
        """Whether it says when."""
        return self.start_ns is not None or self.end_ns is not None

    def sql(self) -> tuple[str, dict[str, Param]]:
        """The condition and its parameters."""
        where, params = ["trace_id != ''"], dict[str, Param]()
        for column in ("service", "name", "kind", "status"):
            value = getattr(self, column)
            if value is not None:
                where.append(f"{column} = {{{column}:String}}")
                params[column] = value
        if self.min_duration_ms is not None:
            where.append("duration >= {shortest:UInt64}")
            params["shortest"] = _nanoseconds(self.min_duration_ms)
        if self.max_duration_ms is not None:
            where.append("duration <= {longest:UInt64}")
            params["longest"] = _nanoseconds(self.max_duration_ms)
        for number, (key, text) in enumerate(self.attributes):
            where.append(_has(number, text))
            params[f"k{number}"] = key
            if text is not None:
                params[f"v{number}"] = text
        if self.start_ns is not None:
            where.append(_FROM)
            params["start_ns"] = self.start_ns
        if self.end_ns is not None:
            where.append(_TO)
            params["end_ns"] = self.end_ns
        where += self._of_trace(params)
        return " AND ".join(where), params

    def _of_trace(self, params: dict[str, Param]) -> list[str]:
        near = []
        if self.start_ns is not None:
            near.append(f"{_FROM} - toIntervalSecond({_TRACE_SPREAD_S})")
        if self.end_ns is not None:
            near.append(f"{_TO} + toIntervalSecond({_TRACE_SPREAD_S})")
        found = []
        for attribute in _OF_TRACE:
            value = getattr(self, attribute)
            if value is not None:
                params[f"of_{attribute}"] = value
                where = " AND ".join([f"attributes['{attribute}'] = {{of_{attribute}:String}}", *near])
                found.append(f"trace_id IN (SELECT trace_id FROM spans WHERE {where})")
        return found


def _nanoseconds(milliseconds: float) -> int:
    return round(min(max(0.0, milliseconds), _LONGEST_MS) * 1e6)


def _has(number: int, text: str | None) -> str:
    """The condition that the span, or its resource, has attribute `k<number>` (with the value `v<number>`)."""
    key, value = f"{{k{number}:String}}", f"{{v{number}:String}}"
    either = []
    for column in ("attributes", "resource"):
        typed = f"JSONExtractRaw({column}_typed, {key})"
        if text is None:
            either.append(f"mapContains({column}, {key}) OR {typed} != ''")
        elif not text:  # what is absent reads as empty too
            either.append(f"(mapContains({column}, {key}) AND {column}[{key}] = '')")
        else:
            either.append(f"{column}[{key}] = {value} OR {typed} = {value}")
            if _is_number(text):
                either.append(f"ifNull(toFloat64OrNull({typed}) = toFloat64OrNull({value}), 0)")
    return f"({' OR '.join(either)})"


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
