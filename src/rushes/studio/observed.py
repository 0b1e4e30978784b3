"""Gauges that are read from the queue and the workers themselves whenever somebody collects them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from typing import Final

import sqlalchemy as sa

from rushes.catalog import TIERS
from rushes.sdk import instruments, logs
from rushes.studio.board import Board
from rushes.studio.jobs import JobStore
from rushes.studio.keys import KeyStore, audit

__all__ = ["observe"]

_AUDIT_EVERY_S: Final = 300.0
_LOG: Final = logs.get_logger("gateway")


class _Audited:
    """How many discrepancies the ledger has: counted anew every few minutes only, since all of it is read."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine
        self._due = 0.0
        self._found = 0
        self._lock = threading.Lock()  # two may collect at once

    def __call__(self) -> Iterable[tuple[float, Mapping[str, str]]]:
        with self._lock:
            if time.monotonic() >= self._due:
                found = audit(self._engine)
                for discrepancy in found:
                    _LOG.error("log.message", error=f"credits of {discrepancy.subject}: {discrepancy.text}")
                self._found, self._due = len(found), time.monotonic() + _AUDIT_EVERY_S
            return [(self._found, {})]


def observe(store: JobStore, keys: KeyStore, board: Board, models: Iterable[str]) -> None:
    """Registers the gauges in this process. One process (the gateway) reports for all."""
    known = tuple(models)

    def depth() -> Iterable[tuple[float, Mapping[str, str]]]:
        counts = {(d.tier, d.model, d.status): d.jobs for d in store.depth()}
        # An empty queue is a zero, not a gap; a model that was taken away may still have jobs.
        series = {(t, m, s) for t in TIERS for m in known for s in ("waiting", "assigned", "generating")}
        return [
            (counts.get(key, 0), dict(zip(("tier", "model", "status"), key, strict=True)))
            for key in sorted(series | counts.keys())
        ]

    def ages(*, waiting: bool) -> Iterable[tuple[float, Mapping[str, str]]]:
        oldest, now = store.oldest_ns(), time.time_ns()
        return [(max(0.0, (now - oldest.get((tier, waiting), now)) / 1e9), {"tier": tier}) for tier in TIERS]

    instruments.queue_depth_total.observe(depth)
    instruments.rushes_ledger_discrepancies.observe(_Audited(store.engine))
    instruments.rushes_queue_oldest_wait_seconds.observe(lambda: ages(waiting=True))
    instruments.rushes_job_oldest_age_seconds.observe(lambda: ages(waiting=False))
    instruments.active_users_daily.observe(lambda: [(keys.active_today(), {})])
    instruments.worker_count_total.observe(board.count)
    instruments.gpu_worker_status.observe(board.status)
