"""Scraping: targets that are asked for their metrics, as Prometheus asks them.

Each scrape leaves `up`, `scrape_duration_seconds` and `scrape_samples_scraped`. A series that a target no longer
exposes ends with a stale marker, and so do all of them when the target can't be reached.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import httpx
import numpy as np

from rushes.ingest.batch import Batch
from rushes.ingest.columns import Clockwork, checked
from rushes.ingest.exposition import Exposition, ExpositionError, exposition, labels_of
from rushes.ingest.histograms import STALE
from rushes.ingest.inflate import ENCODINGS, inflated
from rushes.ingest.limits import BodyTooLarge, Overloaded, UndecodableBody
from rushes.ingest.nested import Ints
from rushes.ingest.receiver import Receiver
from rushes.sdk import logs
from rushes.store.interface import StoreError

__all__ = ["Scraper", "Target"]

_LOG: Final = logs.get_logger("scrape")
_logger = logging.getLogger(__name__)
_ACCEPT: Final = (
    "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,"
    "text/plain;q=0.2,*/*;q=0.1"
)
_SOURCE: Final = "scrape"
_NS_PER_MS: Final = 1_000_000
_NONE: Final[Ints] = np.zeros(0, np.int64)


@dataclass(frozen=True)
class Target:
    """What is scraped.

    Attributes:
        job: the label `job` of its series.
        url: where it exposes its metrics; its host and port are the label `instance`.
        interval_s: seconds from one scrape to the next.
        timeout_s: seconds that one may take.
        bearer_token_file: a file with the token to show; read each time.
        labels: further labels of its series.
    """

    job: str
    url: str
    interval_s: float = 15
    timeout_s: float = 10
    bearer_token_file: Path | None = None
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def own(self) -> dict[str, str]:
        """The labels that all of its series have, empty ones left out."""
        parts = urlsplit(self.url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        own = {**self.labels, "job": self.job, "instance": f"{host}:{port}"}
        return {name: value for name, value in own.items() if value}


@dataclass
class _Seen:
    """What the last scrape of a target brought."""

    numbers: Ints = field(default_factory=lambda: _NONE)
    failing: bool = False


class Scraper:
    """Scrapes targets, each in its own time.

    Args:
        receiver: stores what is found.
        targets: what is scraped.
        client: how they are asked; one of its own by default.
    """

    def __init__(
        self, receiver: Receiver, targets: Iterable[Target], *, client: httpx.AsyncClient | None = None
    ) -> None:
        self.targets = tuple(targets)
        self._receiver = receiver
        self._client = client
        self._seen = {target: _Seen() for target in map(_Key, self.targets)}

    async def run(self) -> None:
        """Scrape until cancelled."""
        if not self.targets:
            return
        self._client = self._client or httpx.AsyncClient(follow_redirects=True, trust_env=False)
        try:
            await asyncio.gather(*(self._forever(target) for target in self.targets))
        finally:
            await self._client.aclose()
            self._client = None

    async def scrape(self, target: Target) -> bool:
        """Scrape once; whether the target was up and its metrics are stored."""
        clock = self._receiver.clock_ns
        loop = asyncio.get_running_loop()
        began_ns, began = clock(), loop.time()
        body, found, problem = b"", None, ""
        try:
            async with asyncio.timeout(target.timeout_s):
                body, openmetrics = await self._fetch(target)
            found = exposition(body.decode(), openmetrics=openmetrics)
        except (
            httpx.HTTPError,
            httpx.InvalidURL,
            TimeoutError,
            OSError,
            UnicodeDecodeError,
            ExpositionError,
            BodyTooLarge,
            UndecodableBody,
        ) as error:
            problem = str(error) or type(error).__name__
        taken = _Scrape(target, self._seen[_Key(target)].numbers, began_ns // _NS_PER_MS, loop.time() - began)
        try:
            await self._receiver.write(_SOURCE, body, taken.take(found))
        except (ExpositionError, BodyTooLarge) as error:  # found only when series were taken apart
            problem = str(error)
            await self._write_down(taken)
        except (StoreError, Overloaded):
            return False  # counted; the series are compared with those of the last scrape that was stored
        self._note(target, problem)
        self._seen[_Key(target)].numbers = taken.numbers
        return not problem

    async def _write_down(self, taken: _Scrape) -> None:
        try:
            await self._receiver.write(_SOURCE, b"", taken.take(None))
        except (StoreError, Overloaded):
            taken.numbers = taken.before

    async def _forever(self, target: Target) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            try:
                await self.scrape(target)
            except Exception:  # a defect must not end the scraping of this target, nor of the others
                _logger.exception("a scrape failed")
            due += target.interval_s
            now = loop.time()
            if due < now:  # too slow: leave out what was missed
                due += ((now - due) // target.interval_s + 1) * target.interval_s
            await asyncio.sleep(due - now)

    async def _fetch(self, target: Target) -> tuple[bytes, bool]:
        """The body, and whether it is OpenMetrics."""
        headers = {
            "accept": _ACCEPT,
            "accept-encoding": "gzip",
            "user-agent": "rushes",
            "x-prometheus-scrape-timeout-seconds": str(target.timeout_s),
        }
        if target.bearer_token_file is not None:
            headers["authorization"] = f"Bearer {target.bearer_token_file.read_text().strip()}"
        client = self._client or httpx.AsyncClient(follow_redirects=True, trust_env=False)
        try:
            async with client.stream("GET", target.url, headers=headers, timeout=target.timeout_s) as reply:
                if reply.status_code != httpx.codes.OK:
                    raise ExpositionError(f"the target answered {reply.status_code}")
                named = reply.headers.get("content-encoding", "identity").lower()
                encoding = next((each for each in ENCODINGS if each == named), None)
                if encoding is None:
                    raise ExpositionError(f"the target answered in the encoding {named!r}")
                limit = self._receiver.limits.body_bytes
                body = await inflated(reply.aiter_raw(), encoding=encoding, limit=limit)
                return body, reply.headers.get("content-type", "").startswith("application/openmetrics-text")
        finally:
            if client is not self._client:
                await client.aclose()

    def _note(self, target: Target, problem: str) -> None:
        """Say in the log when a target begins to fail."""
        seen = self._seen[_Key(target)]
        if problem and not seen.failing:
            _LOG.warning(
                "scrape.failed", job=target.job, instance=target.own["instance"], error=problem[:500]
            )
        seen.failing = bool(problem)


class _Key:
    """A target by its identity: two of the same description are two."""

    def __init__(self, target: Target) -> None:
        self._id = id(target)

    def __hash__(self) -> int:
        return self._id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self._id == other._id


class _Scrape:
    """One scrape on its way into a batch."""

    def __init__(self, target: Target, before: Ints, ts_ms: int, duration_s: float) -> None:
        self._own = target.own
        self._prefix = "\xff".join(f"{name}\xff{value}" for name, value in sorted(self._own.items())) + "\xff"
        self.before = before
        self._ts_ms = ts_ms
        self._duration_s = duration_s
        self.numbers = _NONE

    def take(self, found: Exposition | None) -> Callable[[Batch, Clockwork], None]:
        """What adds the scrape to a batch; without an exposition the target was down."""

        def add(batch: Batch, clock: Clockwork) -> None:
            self.numbers = _NONE if found is None else self._add(found, batch, clock)
            gone = np.setdiff1d(self.before, self.numbers)
            batch.samples(gone, np.full(len(gone), self._ts_ms), np.full(len(gone), STALE))
            for metric, value in (
                ("up", float(found is not None)),
                ("scrape_duration_seconds", self._duration_s),
                ("scrape_samples_scraped", float(0 if found is None else len(found.series))),
            ):
                admitted = batch.admit(metric, dict(self._own))
                if admitted is not None:
                    batch.sample(admitted[0], self._ts_ms, value)

        return add

    def _add(self, found: Exposition, batch: Batch, clock: Clockwork) -> Ints:
        """Adds the samples; the series that end with the next scrape unless they come again."""
        numbers = self._known(found, batch)
        ts = np.full(len(numbers), self._ts_ms, np.int64)
        timed = np.zeros(len(numbers), bool)
        for place, time in found.times.items():
            ts[place], timed[place] = time, True
        values = np.array(found.values, np.float64)
        if len(numbers):
            keep = checked(clock.complaints(ts, _NS_PER_MS), batch.refusals) & (numbers >= 0)
            batch.samples(numbers[keep], ts[keep], values[keep])
            exemplars = list(found.exemplars.items())
            for place, exemplar in exemplars[: batch.room_for_exemplars(len(exemplars))]:
                if not keep[place]:
                    continue
                of = dict(exemplar.labels)
                span = of.pop("trace_id", ""), of.pop("span_id", "")
                at = exemplar.ts_ms if exemplar.ts_ms is not None else int(ts[place])
                if clock.complaint(at * _NS_PER_MS) is None:
                    batch.exemplar(int(numbers[place]), at, exemplar.value, span, of)
        for name, of_metric in found.described.items():
            batch.describe(name, *of_metric)
        # A series that brings its own time lasts until it is too old, as Prometheus has it.
        return np.unique(numbers[(numbers >= 0) & ~timed])

    def _known(self, found: Exposition, batch: Batch) -> Ints:
        keys = [self._prefix + text for text in found.series]
        return batch.numbers(keys, lambda place: self._named(found.series[place], batch))

    def _named(self, series: str, batch: Batch) -> tuple[str, dict[str, str]] | None:
        """A series' metric and its labels with those of its target; None, counted, if they can't be had.

        A label that the target's own stands for is kept as exported_…: what is scraped can't pass for another's.
        """
        found = {name: value for name, value in labels_of(series).items() if value}
        metric = found.pop("__name__")
        for name in self._own:
            if name in found:
                renamed = f"exported_{name}"
                while renamed in found or renamed in self._own:
                    renamed = f"exported_{renamed}"
                found[renamed] = found.pop(name)
        labels = batch.labels(found | self._own)
        return None if labels is None else (metric, labels)
