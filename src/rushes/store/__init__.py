"""Where telemetry is kept: samples, series, exemplars, spans and logs in ClickHouse's dialect."""

from rushes.store.interface import (
    Param,
    Partition,
    Row,
    Store,
    StoreError,
    StoreExhausted,
    StoreQueryError,
    StoreTimeout,
    StoreUnavailable,
    Table,
)

__all__ = [
    "Param",
    "Partition",
    "Row",
    "Store",
    "StoreError",
    "StoreExhausted",
    "StoreQueryError",
    "StoreTimeout",
    "StoreUnavailable",
    "Table",
]
