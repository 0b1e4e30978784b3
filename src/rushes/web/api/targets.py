"""What is scraped, for /api/v1/targets: each configured target, and what its last scrape has left in the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from rushes.query.promql import PromQL
from rushes.web.api.form import Form

__all__ = ["ScrapeTarget", "Targets"]

_NEVER: Final = "0001-01-01T00:00:00Z"  # Go's zero, as Prometheus writes it
_WHY: Final = "the last scrape failed; the log says why, in the event scrape.failed"
_Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class ScrapeTarget:
    """What is scraped: `labels` are its series', `job` and `instance` among them; times in seconds."""

    url: str
    labels: dict[str, str]
    interval_s: float
    timeout_s: float


class Targets:
    """The endpoints that tell of targets. Their methods block.

    Args:
        targets: what is scraped.
        promql: where `up` and its kin are.
        clock: seconds since the epoch, now.
    """

    def __init__(self, targets: Sequence[ScrapeTarget], promql: PromQL, clock: Callable[[], float]) -> None:
        self._targets = targets
        self._promql = promql
        self._clock = clock

    def listed(self, given: Form) -> Any:
        """All targets. None is ever dropped here: there is no relabelling."""
        pool, state = given.text("scrapePool"), given.text("state").lower()
        found = []
        if state != "dropped" and self._targets:
            up = self._newest("up")
            at = self._newest("timestamp(up)")
            took = self._newest("scrape_duration_seconds")
            found = [
                _described(of, *(numbers.get(_key(of.labels)) for numbers in (up, at, took)))
                for of in self._targets
                if pool in {"", of.labels.get("job", "")}
            ]
        return {
            "activeTargets": found,
            "droppedTargets": [],
            "droppedTargetCounts": dict.fromkeys(self._pools(), 0),
        }

    def pools(self, _: Form) -> Any:
        return {"scrapePools": self._pools()}

    def _pools(self) -> list[str]:
        return sorted({of.labels.get("job", "") for of in self._targets})

    def _newest(self, query: str) -> dict[_Key, float]:
        found = self._promql.instant(query, self._clock())
        return {_key(series.labels): series.values[0] for series in found.series}


def _key(labels: dict[str, str]) -> _Key:
    return labels.get("job", ""), labels.get("instance", "")


def _described(of: ScrapeTarget, up: float | None, at: float | None, took: float | None) -> dict[str, Any]:
    url = urlsplit(of.url)
    return {
        "discoveredLabels": {},
        "labels": of.labels,
        "scrapePool": of.labels.get("job", ""),
        "scrapeUrl": urlunsplit(url._replace(netloc=url.netloc.rpartition("@")[2])),
        "globalUrl": "",
        "lastError": _WHY if up == 0 else "",
        "lastScrape": _NEVER if at is None else _written(at),
        "lastScrapeDuration": took or 0,
        "health": "unknown" if up is None else "up" if up else "down",
        "scrapeInterval": f"{of.interval_s:g}s",
        "scrapeTimeout": f"{of.timeout_s:g}s",
    }


def _written(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
