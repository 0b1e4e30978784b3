"""The control room's store: which one the settings mean, its upkeep, and its figures under `rushes_`."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final, TypeAlias

from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from rushes.ingest import Receiver
from rushes.sdk import Telemetry, instruments
from rushes.settings import Settings
from rushes.store.interface import StoreError, StoreUnavailable
from rushes.store.sql_store import SqlStore
from rushes.store.upkeep import Upkeep

__all__ = ["keep_own_metrics", "observe", "open_store", "problems_route"]

Observations: TypeAlias = Iterable[tuple[float, Mapping[str, str]]]
_KEEP_EVERY_S: Final = 15.0
_logger: Final = logging.getLogger(__name__)
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def open_store(settings: Settings, *, to_read: bool = False) -> SqlStore:
    """Opens the store that the settings name; `to_read` leaves its retention as it is.

    Raises:
        StoreError: it can't be opened.
        ValueError: its URL or its retention can't be.
    """
    retention_s = None if to_read else settings.retention
    if settings.store is None:
        # Imported where it is needed: it is most of this process's memory.
        from rushes.store.chdb_store import ChdbStore

        return ChdbStore(settings.telemetry_dir, retention_s=retention_s)
    from rushes.store.clickhouse_store import ClickHouseStore
    from rushes.store.clickhouse_url import ClickHouseUrl

    url = ClickHouseUrl.parse(settings.store)
    return ClickHouseStore(url, password=_password(settings), retention_s=retention_s)


def _password(settings: Settings) -> str | None:
    if settings.store_password is not None:
        return settings.store_password.get_secret_value()
    if settings.store_password_file is None:
        return None
    try:
        return settings.store_password_file.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreUnavailable(f"the store's password can't be read: {error}") from error


def observe(upkeep: Upkeep) -> None:
    """Feeds the store's own metrics from the last look at it."""

    def by_table(figure: Callable[[], Mapping[str, int]]) -> Callable[[], Observations]:
        return lambda: [(value, {"table": table}) for table, value in figure().items()]

    def known(figure: Callable[[], int | None]) -> Callable[[], Observations]:
        return lambda: [] if (value := figure()) is None else [(value, {})]

    instruments.rushes_store_rows.observe(by_table(lambda: upkeep.figures.rows))
    instruments.rushes_store_bytes.observe(by_table(lambda: upkeep.figures.bytes))
    instruments.rushes_store_parts.observe(by_table(lambda: upkeep.figures.parts))
    instruments.rushes_store_dropped_rows_total.observe(by_table(lambda: upkeep.figures.dropped_rows))
    instruments.rushes_store_dropped_bytes_total.observe(by_table(lambda: upkeep.figures.dropped_bytes))
    instruments.rushes_store_memory_bytes.observe(known(lambda: upkeep.figures.memory))
    instruments.rushes_store_disk_free_bytes.observe(known(lambda: upkeep.figures.disk_free))
    instruments.rushes_server_memory_bytes.observe(known(_resident))


def problems_route(problems: Callable[[], list[str]]) -> Route:
    """`GET /api/problems`: what is wrong now, each in words for a page."""

    async def answer(_: Request) -> Response:
        return JSONResponse({"problems": problems()})

    return Route("/api/problems", answer)


async def keep_own_metrics(telemetry: Telemetry, receiver: Receiver) -> None:
    """Stores this process's own metrics as if it had been sent them, until it is cancelled.

    A server that can't store anything can't store that either; it is in `/metrics` all the same.
    """
    reader = telemetry.pull
    while reader is not None:
        await asyncio.sleep(_KEEP_EVERY_S)
        data = await asyncio.to_thread(reader.get_metrics_data)
        if data is not None:
            try:
                await receiver.receive("metrics", encode_metrics(data).SerializeToString())
            except StoreError:
                continue  # the receiver has counted and said it
            except Exception:
                _logger.exception("this process's own metrics can't be stored; trying again")


def _resident() -> int | None:
    """Bytes of this process in memory; None where the system doesn't tell."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE
    except OSError:
        return None
