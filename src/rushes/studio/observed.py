"""Gauges that are read from the queue and the workers themselves whenever somebody collects them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rushes.catalog import TIERS
from rushes.sdk import instruments
from rushes.studio.board import Board
from rushes.studio.jobs import JobStore
from rushes.studio.keys import KeyStore

__all__ = ["observe"]


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

    instruments.queue_depth_total.observe(depth)
    instruments.active_users_daily.observe(lambda: [(keys.active_today(), {})])
    instruments.worker_count_total.observe(board.count)
    instruments.gpu_worker_status.observe(board.status)
