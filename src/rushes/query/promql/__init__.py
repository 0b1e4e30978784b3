"""PromQL over the store: `PromQL` answers within a `Deadline`, `PromQLError` says why not."""

from rushes.query.promql.deadline import Deadline
from rushes.query.promql.engine import MAX_STEPS, PromQL
from rushes.query.promql.model import PromQLError, QueryResult, Series
from rushes.query.promql.native import Histogram

__all__ = ["MAX_STEPS", "Deadline", "Histogram", "PromQL", "PromQLError", "QueryResult", "Series"]
