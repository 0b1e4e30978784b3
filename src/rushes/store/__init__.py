"""Where telemetry is kept: samples, series, exemplars, spans and logs in ClickHouse's dialect."""

from rushes.store.interface import Param, Row, Store, StoreError, StoreQueryError, StoreUnavailable, Table

__all__ = ["Param", "Row", "Store", "StoreError", "StoreQueryError", "StoreUnavailable", "Table"]
