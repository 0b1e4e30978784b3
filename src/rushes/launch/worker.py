"""`rushes worker`: one worker as a process of its own."""

from __future__ import annotations

import os
import threading
from typing import cast

from rushes.launch.lifetime import end_with_parent, stop_on_signals
from rushes.settings import Settings
from rushes.studio.worker import Role, work

__all__ = ["run"]


def run(settings: Settings, role: str, worker_id: str | None) -> None:
    """Works until SIGTERM. Raises WorkerBusyError, ValueError for a malformed id."""
    stop = stop_on_signals()
    end_with_parent()
    work(settings, cast("Role", role), worker_id or f"{role}-{os.getpid()}", stop)
    # A render that outlasted its time still runs in a thread that nothing ends but the process.
    if any(thread is not threading.main_thread() and not thread.daemon for thread in threading.enumerate()):
        os._exit(0)
