"""When a job was last heard of: one that runs and has long said nothing may hang, and pages say so."""

from __future__ import annotations

import threading
from collections import OrderedDict
from datetime import datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from rushes.query import VideoRow
    from rushes.web.facades import Logs

__all__ = ["Silence"]

_NS: Final = 1_000_000_000
_QUIET_NS: Final = 60 * _NS
_KEPT_NS: Final = 5 * _NS  # the store is asked at most this often about one job, however many look
_KEPT: Final = 1024
_AT_WORK: Final = frozenset({"encoding", "generating"})  # in a queue, silence is no sign of anything


class Silence:
    """Finds out since when a job at work has been silent.

    Args:
        logs: where its log lines are.
        clock_ns: the time, in Unix nanoseconds.
    """

    def __init__(self, logs: Logs, clock_ns: Callable[[], int]) -> None:
        self._logs = logs
        self._clock_ns = clock_ns
        self._lock = threading.Lock()
        self._known: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def since(self, video: VideoRow) -> int | None:
        """When its last news came, in Unix nanoseconds, if that is more than 60 s ago; else None. Blocks."""
        now_ns = self._clock_ns()
        if (
            video.status not in _AT_WORK
            or not video.trace_id
            or now_ns - video.accepted_ns <= _QUIET_NS  # its acceptance is news
        ):
            return None
        last_ns = self._last(video, now_ns)
        return last_ns if now_ns - last_ns > _QUIET_NS else None

    def _last(self, video: VideoRow, now_ns: int) -> int:
        with self._lock:
            known = self._known.get(video.trace_id)
        if known and 0 <= now_ns - known[0] < _KEPT_NS:
            return known[1]
        lines = self._logs.search(trace_id=video.trace_id, limit=1)
        last_ns = max((_moment(str(line["timestamp"])) for line in lines), default=video.accepted_ns)
        with self._lock:
            self._known[video.trace_id] = (now_ns, last_ns)
            self._known.move_to_end(video.trace_id)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return last_ns


def _moment(timestamp: str) -> int:
    return round(datetime.fromisoformat(timestamp).timestamp() * 1000) * 1_000_000
