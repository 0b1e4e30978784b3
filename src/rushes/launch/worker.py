"""`rushes worker`: one worker as a process of its own."""

from __future__ import annotations

import os
from typing import cast

from rushes.launch.lifetime import end_with_parent, stop_on_signals
from rushes.settings import Settings
from rushes.studio.jobs import Role
from rushes.studio.worker import work

__all__ = ["run"]


def run(settings: Settings, role: str, worker_id: str | None, *, realtime: bool) -> None:
    """Works until SIGTERM, with `realtime` at realtime jobs only. Raises WorkerBusyError; ValueError: malformed id."""
    stop = stop_on_signals()
    end_with_parent()
    name = worker_id or f"{'realtime' if realtime else role}-{os.getpid()}"
    if not work(settings, cast("Role", role), name, stop, realtime=realtime):
        # A render that outlasted its time still runs, in a thread that nothing ends but the process.
        os._exit(0)
