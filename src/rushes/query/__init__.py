"""Reading: traces, logs, videos, series and PromQL, over the store's interface alone."""

from rushes.query.logs import Logs
from rushes.query.readers import Readers
from rushes.query.traces import TRACE_STATUSES, SpanRow, Traces, TraceSummary
from rushes.query.videos import VIDEO_STATUSES, VideoRow, Videos, VideoStatus

__all__ = [
    "TRACE_STATUSES",
    "VIDEO_STATUSES",
    "Logs",
    "Readers",
    "SpanRow",
    "TraceSummary",
    "Traces",
    "VideoRow",
    "VideoStatus",
    "Videos",
]
