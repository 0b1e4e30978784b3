"""What a query's author should know about its answer, worded as Prometheus words its annotations."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["Notes"]

_COUNTER: Final = re.compile(r".*_(total|sum|count|bucket)\Z")


class Notes:
    """Collects each remark once, in order."""

    def __init__(self) -> None:
        self._warnings: dict[str, None] = {}
        self._infos: dict[str, None] = {}

    @property
    def warnings(self) -> list[str]:
        """What is likely wrong."""
        return list(self._warnings)

    @property
    def infos(self) -> list[str]:
        """What may be meant otherwise."""
        return list(self._infos)

    def warn(self, text: str) -> None:
        self._warnings[f"PromQL warning: {text}"] = None

    def inform(self, text: str) -> None:
        self._infos[f"PromQL info: {text}"] = None

    def bad_quantile(self, quantile: float) -> None:
        self.warn(f"quantile value should be between 0 and 1, got {quantile:g}")

    def bad_bucket(self, metric: str, le: str) -> None:
        self.warn(
            f'bucket label "le" is missing or has a malformed value of "{le}" for metric name "{metric}"'
        )

    def mixed(self, metric: str = "") -> None:
        """Floats and histograms met where they can't."""
        of = f' for metric name "{metric}"' if metric else " aggregation"
        self.warn(f"encountered a mix of histograms and floats{of}")

    def mixed_histograms(self, metric: str) -> None:
        """A series has classic buckets and is a native histogram."""
        self.warn(f'vector contains a mix of classic and native histograms for metric name "{metric}"')

    def incompatible(self, metric: str = "") -> None:
        """Exponential and custom buckets met where they can't."""
        self.warn(
            "vector contains a mix of histograms with exponential and custom buckets schemas "
            f'for metric name "{metric}"'
        )

    def not_counter(self, metric: str) -> None:
        if metric and not _COUNTER.match(metric):
            self.inform(
                f'metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "{metric}"'
            )

    def histogram_not_counter(self, metric: str) -> None:
        self.warn(f'this native histogram metric is not a counter: "{metric}"')

    def histogram_not_gauge(self, metric: str) -> None:
        self.warn(f'this native histogram metric is not a gauge: "{metric}"')

    def ignored_in_range(self, metric: str) -> None:
        self.inform(
            f'ignored histograms in a range containing both floats and histograms for metric name "{metric}"'
        )

    def ignored_in_aggregation(self, operator: str) -> None:
        self.inform(f"ignored histogram in {operator} aggregation")

    def incompatible_types(self, left: str, operator: str, right: str) -> None:
        self.inform(
            f'incompatible sample types encountered for binary operator "{operator}": {left} {operator} {right}'
        )

    def forced_rising(self) -> None:
        self.inform("input to histogram_quantile needed to be fixed for monotonicity")
