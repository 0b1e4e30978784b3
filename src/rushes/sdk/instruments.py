"""One instrument for each metric of the catalog, as an attribute of this module under the metric's exact name.

`instruments.pyi`, beside this file, is generated and gives each its typed labels.
"""

from __future__ import annotations

from rushes.catalog import METRICS
from rushes.sdk.instrument_types import Instrument, make

__all__ = ["get"]

_made = {name: make(metric) for name, metric in METRICS.items()}


def get(name: str) -> Instrument:
    """The instrument of a metric by its name. Raises KeyError for a name that the catalog does not declare."""
    return _made[name]


def __getattr__(name: str) -> Instrument:
    try:
        return _made[name]
    except KeyError:
        raise AttributeError(
            f"the catalog declares no metric {name!r}; `rushes catalog` lists them"
        ) from None
