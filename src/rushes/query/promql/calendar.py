"""What a time is on the calendar, in UTC: `hour`, `day_of_week`, `days_in_month` and their kin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from rushes.query.promql.model import Floats

__all__ = ["CALENDAR"]

_DAY_S: Final = 86_400
_LIMIT: Final = 8e15  # beyond, numpy's dates wrap round


def _of(function: Callable[[Any], Any]) -> Callable[[Floats], Floats]:
    """Apply to seconds since the epoch; fractions are cut off, what is no time is not-a-number."""

    def apply(seconds: Floats) -> Floats:
        usable = np.isfinite(seconds) & (np.abs(seconds) < _LIMIT)
        whole = np.where(usable, np.trunc(seconds), 0).astype(np.int64)
        return np.where(usable, np.asarray(function(whole), dtype=np.float64), np.nan)

    return apply


def _dates(seconds: Any) -> Any:
    return seconds.astype("datetime64[s]")


def _months(seconds: Any) -> Any:
    return _dates(seconds).astype("datetime64[M]")


def _days_since(seconds: Any, unit: str) -> Any:
    begun = _dates(seconds).astype(f"datetime64[{unit}]").astype("datetime64[D]")
    return (_dates(seconds).astype("datetime64[D]") - begun).astype(np.int64)


def _days_in_month(seconds: Any) -> Any:
    months = _months(seconds)
    return ((months + 1).astype("datetime64[D]") - months.astype("datetime64[D]")).astype(np.int64)


CALENDAR: Final[dict[str, Callable[[Floats], Floats]]] = {
    "minute": _of(lambda seconds: seconds % 3600 // 60),
    "hour": _of(lambda seconds: seconds % _DAY_S // 3600),
    "day_of_week": _of(lambda seconds: (seconds // _DAY_S + 4) % 7),  # the epoch was a Thursday
    "day_of_month": _of(lambda seconds: _days_since(seconds, "M") + 1),
    "day_of_year": _of(lambda seconds: _days_since(seconds, "Y") + 1),
    "days_in_month": _of(_days_in_month),
    "month": _of(lambda seconds: _months(seconds).astype(np.int64) % 12 + 1),
    "year": _of(lambda seconds: _dates(seconds).astype("datetime64[Y]").astype(np.int64) + 1970),
}
"""Functions of seconds since the epoch, by their PromQL names."""
