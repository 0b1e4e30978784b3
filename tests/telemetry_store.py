"""One embedded store for all tests of this process, since chdb serves one folder a process.

Tests keep apart by ids and metric names of their own. Its retention is long enough for fixed timestamps.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
import uuid
from pathlib import Path

from rushes.store.chdb_store import ChdbStore

__all__ = ["NOW_NS", "NOW_S", "RETENTION_S", "shared_store", "unique"]

NOW_S = 1_767_225_600
NOW_NS = NOW_S * 1_000_000_000
RETENTION_S = 20 * 365 * 86_400


@functools.cache
def shared_store() -> ChdbStore:
    folder = Path(tempfile.mkdtemp(prefix="rushes-store-"))
    store = ChdbStore(folder / "telemetry", retention_s=RETENTION_S)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(store.close)
    return store


def unique(prefix: str) -> str:
    """A name that no other test uses."""
    return f"{prefix}_{uuid.uuid4().hex[:12]}"
