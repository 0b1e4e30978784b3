"""The time range of a page, as its URL states it, so that a link shows another person the same thing."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

__all__ = ["DEFAULT", "RELATIVE", "BadTimeRangeError", "TimeRange", "moment", "parse"]

RELATIVE: Final[Mapping[str, int]] = {"15m": 900, "1h": 3600, "6h": 21_600, "24h": 86_400}
DEFAULT: Final = "1h"

_POINTS: Final = 120
_STEPS: Final = (1, 2, 5, 10, 15, 30, 60, 120, 180, 300, 600, 900, 1800, 3600, 7200, 21_600, 43_200, 86_400)
_SHORTEST_S: Final = 10.0
_LONGEST_S: Final = 400 * 86_400.0
_SHORTEST_RATE_S: Final = 60
_RATE_STEPS: Final = 8
_REFRESH_S: Final = 5


class BadTimeRangeError(ValueError):
    """The URL's time range can't be read; the message says what to write instead."""


@dataclass(frozen=True, slots=True)
class TimeRange:
    """A range in Unix seconds; `name` is the relative range it was made from, empty for an absolute one."""

    start_s: float
    end_s: float
    name: str = ""

    @property
    def length_s(self) -> float:
        """The range's length in seconds."""
        return self.end_s - self.start_s

    @property
    def step_s(self) -> int:
        """Distance of points in plots: about 120 of them, on round times."""
        wanted = self.length_s / _POINTS
        return next((step for step in _STEPS if step >= wanted), math.ceil(wanted / 86_400) * 86_400)

    @property
    def rate_s(self) -> int:
        """The window of rates: wide enough for several samples and for a calm line."""
        return max(_SHORTEST_RATE_S, _RATE_STEPS * self.step_s)

    @property
    def query(self) -> str:
        """The URL's query string that gives this range again."""
        return f"range={self.name}" if self.name else f"from={self.start_s:.0f}&to={self.end_s:.0f}"


def parse(params: Mapping[str, str], now_s: float) -> TimeRange:
    """Reads `range=1h`, or `from` and `to` as Unix seconds or ISO 8601.

    Raises:
        BadTimeRangeError: the values can't be read, are in the wrong order, or span too much or too little.
    """
    if "from" in params or "to" in params:
        if "from" not in params:
            raise BadTimeRangeError("the time range has `to` but no `from`: give both, or range=1h")
        start = moment(params["from"], "from")
        end = moment(params["to"], "to") if "to" in params else now_s
        if not _SHORTEST_S <= end - start <= _LONGEST_S:
            raise BadTimeRangeError(
                f"the time range spans {end - start:.0f} s: `to` must be between 10 s and 400 days after `from`"
            )
        return TimeRange(start, end)
    name = params.get("range", DEFAULT)
    if name not in RELATIVE:
        raise BadTimeRangeError(f"the range {name[:40]!r} is not known: use one of {', '.join(RELATIVE)}")
    # On a coarse clock, so that all viewers of a range share one evaluation.
    end = now_s // _REFRESH_S * _REFRESH_S
    return TimeRange(end - RELATIVE[name], end, name)


def moment(text: str, which: str) -> float:
    """Unix seconds from such a number or ISO 8601; `which` parameter it is, for the error. Raises BadTimeRangeError."""
    try:
        value = float(text)
    except ValueError:
        try:
            read = datetime.fromisoformat(text)
        except ValueError:
            raise BadTimeRangeError(
                f"`{which}` is {text[:40]!r}: write Unix seconds or a time such as 2026-01-28T10:30:00Z"
            ) from None
        value = (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
    if not 0 <= value < 253_402_300_800:  # noqa: PLR2004 - the year 10000, where datetime ends
        raise BadTimeRangeError(f"`{which}` is {text[:40]!r}: write Unix seconds, not milliseconds")
    return value
