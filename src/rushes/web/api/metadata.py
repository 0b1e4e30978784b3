"""What metrics mean, for /api/v1/metadata: in their senders' words, else in the catalog's, of foreign ones too."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from rushes.catalog import METRICS, Kind
from rushes.catalog.foreign import meaning_of

if TYPE_CHECKING:
    from rushes.query.series import SeriesIndex

__all__ = ["About", "Metadata"]

About = dict[str, str]
_MAX: Final = 100_000
_PARTS: Final = ("_bucket", "_sum", "_count")


class Metadata:
    """Types, help texts and units of metrics. Its method blocks."""

    def __init__(self, series: SeriesIndex) -> None:
        self._series = series

    def of(self, metric: str | None, limit: int | None) -> dict[str, About]:
        """By name, of all metrics that have series, or of one; at most `limit`."""
        told = self._series.metadata(metric, _MAX)
        found = {
            name: _filled(name, {"type": about.type or "unknown", "help": about.help, "unit": about.unit})
            for name, about in told.items()
        }
        # Who writes by remote write may send samples alone; what they mean may be known here.
        for name in self._names(metric):
            known = _known(name)
            if known is not None and metric in {None, known[0]}:
                found.setdefault(*known)
        return dict(sorted(found.items())[: _MAX if limit is None else limit])

    def _names(self, metric: str | None) -> list[str]:
        """The names of series, whose metric this may be."""
        if metric is None:
            return self._series.label_values("__name__", [])
        names = "|".join(re.escape(f"{metric}{part}") for part in ("", *_PARTS))
        return self._series.label_values("__name__", [f'{{__name__=~"{_escaped(names)}"}}'])


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _filled(name: str, about: About) -> About:
    known = _known(name)
    if about["help"] or known is None:
        return about
    return {
        "type": known[1]["type"] if about["type"] == "unknown" else about["type"],
        "help": known[1]["help"],
        "unit": about["unit"] or known[1]["unit"],
    }


def _known(name: str) -> tuple[str, About] | None:
    """The metric that a series of this name is of, and what it means."""
    for base in (name, *(name.removesuffix(part) for part in _PARTS if name.endswith(part))):
        declared = METRICS.get(base)
        if declared is not None and (base == name or declared.kind is Kind.HISTOGRAM):
            return base, {"type": declared.kind.value, "help": declared.help, "unit": declared.unit}
    foreign = meaning_of(name)
    if foreign is not None:
        return foreign.name, {"type": foreign.kind.value, "help": foreign.help, "unit": foreign.unit}
    return None
