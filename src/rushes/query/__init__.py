"""Reading: traces, logs, videos, series and PromQL, over the store's interface alone."""

from rushes.query.log_filter import LOG_LEVELS, LogFilter
from rushes.query.logs import KeyedRecord, Logs
from rushes.query.readers import Readers
from rushes.query.span_filter import SpanFilter
from rushes.query.traces import TRACE_ORDERS, TRACE_STATUSES, SpanRow, Traces, TraceSummary
from rushes.query.videos import VIDEO_STATUSES, VideoRow, Videos, VideoStatus

__all__ = [
    "LOG_LEVELS",
    "TRACE_ORDERS",
    "TRACE_STATUSES",
    "VIDEO_STATUSES",
    "KeyedRecord",
    "LogFilter",
    "Logs",
    "Readers",
    "SpanFilter",
    "SpanRow",
    "TraceSummary",
    "Traces",
    "VideoRow",
    "VideoStatus",
    "Videos",
]
