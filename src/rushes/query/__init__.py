"""Reading: traces, logs, videos, series and PromQL, over the store's interface alone."""

from rushes.query.logs import Logs
from rushes.query.traces import SpanRow, Traces, TraceSummary
from rushes.query.videos import VideoRow, Videos

__all__ = ["Logs", "SpanRow", "TraceSummary", "Traces", "VideoRow", "Videos"]
