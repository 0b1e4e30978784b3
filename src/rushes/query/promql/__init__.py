"""PromQL over the store: `PromQL` answers, `PromQLError` says why not."""

from rushes.query.promql.engine import PromQL
from rushes.query.promql.model import PromQLError, QueryResult, Series

__all__ = ["PromQL", "PromQLError", "QueryResult", "Series"]
