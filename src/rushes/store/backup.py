"""Backup and restore: each partition as Parquet files with checksums, whatever the store's backend is.

Rows, not the engine's own files: so that a backup of the embedded store can be restored on a ClickHouse server, by a
later version, and be read by anything that reads Parquet. Samples go before series, so that none lacks its labels.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any, Final, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from rushes.store.backup_place import BackupError, File, Hashed, Manifest, Place
from rushes.store.interface import Store, Table
from rushes.store.schema import ARROW, MIGRATIONS

__all__ = ["Piece", "Progress", "Source", "StoreSource", "back_up", "checked", "expiring", "restore"]

Progress = Callable[[int, int], None]
"""Called with rows done and rows in all."""

_FILE_ROWS: Final = 1_000_000
_LAST: Final = ("metrics", "series")  # what samples need is written after them


@dataclass(frozen=True, slots=True)
class Piece:
    """A partition as it was when the backup began; rows that came since are in it as well."""

    table: Table
    partition: str
    rows: int


class Source(Protocol):
    """Where a backup's rows come from."""

    def pieces(self) -> list[Piece]: ...

    def read(self, piece: Piece) -> Iterator[Any]:
        """The rows as `pyarrow.RecordBatch`es."""
        ...


class StoreSource:
    """A store that this process has."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def pieces(self) -> list[Piece]:
        found = [Piece(p.table, p.id, p.rows) for p in self._store.partitions()]
        return sorted(found, key=lambda piece: (piece.table in _LAST, piece.table, piece.partition))

    def read(self, piece: Piece) -> Iterator[Any]:
        columns = ", ".join(ARROW[piece.table].names)
        return self._store.batches(
            f"SELECT {columns} FROM {piece.table} WHERE _partition_id = {{id:String}}",
            {"id": piece.partition},
        )


def back_up(source: Source, place: Place, progress: Progress = lambda _done, _all: None) -> Manifest:
    """Write a backup to a place that has none yet.

    Raises:
        BackupError: it can't be written, or there is one already.
        StoreError: the rows can't be read. What was written until then is no backup.
    """
    if (there := place.manifest()) is not None:
        raise BackupError(
            f"{place.shown} has a backup of {there.created_at} already: name another place, for instance with the date"
        )
    begun = datetime.now(UTC).isoformat(timespec="seconds")
    pieces = source.pieces()
    whole, done = sum(piece.rows for piece in pieces), 0
    files: list[File] = []
    for piece in pieces:
        progress(done, whole)
        for file in _written(source, piece, place):
            files.append(file)
            done += file.rows
            progress(min(done, whole), whole)
    manifest = Manifest(version("rushes"), len(MIGRATIONS), begun, tuple(files))
    place.finish(manifest)
    progress(whole, whole)
    return manifest


def _written(source: Source, piece: Piece, place: Place) -> Iterator[File]:
    batches = iter(source.read(piece))
    batch, number = next(batches, None), 0
    while batch is not None:
        name, rows = f"{piece.table}/{piece.partition}.{number:04}.parquet", 0
        with (
            place.writing(name) as file,
            pq.ParquetWriter(_sink(file), ARROW[piece.table], compression="zstd") as writer,
        ):
            while batch is not None and rows < _FILE_ROWS:
                writer.write_table(pa.Table.from_batches([batch]).cast(ARROW[piece.table]))
                rows += batch.num_rows
                batch = next(batches, None)
        yield File(name, piece.table, piece.partition, rows, file.bytes, file.sha256)
        number += 1


def _sink(file: Hashed) -> Any:
    return pa.PythonFile(file, mode="w")


def restore(place: Place, store: Store, progress: Progress = lambda _done, _all: None) -> Manifest:
    """Read a backup into a store that has no rows yet. Every file is checked before its rows are taken.

    Raises:
        BackupError: there is no backup, or it is partial or damaged, or the store has rows. What was restored until
            then stays in the store.
        StoreError: the store does not take the rows.
    """
    manifest = checked(place)
    full = {p.table for p in store.partitions() if p.rows}
    if full:
        raise BackupError(
            f"the store has rows already, in {', '.join(sorted(full))}: restore into an empty one"
        )
    done = 0
    for file in manifest.files:
        progress(done, manifest.rows)
        with tempfile.TemporaryFile(prefix="rushes-restore-") as copy:
            place.fetch(file, copy)
            _insert(store, file, copy)
        done += file.rows
    progress(manifest.rows, manifest.rows)
    return manifest


def checked(place: Place) -> Manifest:
    """The manifest of a backup whose files are all there. Raises BackupError."""
    manifest = place.manifest()
    if manifest is None:
        raise BackupError(
            f"{place.shown} has no backup, or one that was never finished: its manifest is missing"
        )
    for file in manifest.files:
        place.check(file)
    return manifest


def expiring(manifest: Manifest, retention_s: int, now_s: float) -> int:
    """How many rows lie in days that are older than the retention: a store that has them drops them soon."""
    oldest = f"{datetime.fromtimestamp(now_s - retention_s, UTC):%Y%m%d}"
    return sum(file.rows for file in manifest.files if file.partition < oldest and file.partition.isdigit())


def _insert(store: Store, file: File, copy: Any) -> None:
    with ExitStack() as stack:
        try:
            parquet = stack.enter_context(pq.ParquetFile(copy))
            if not set(parquet.schema_arrow.names) <= set(ARROW[file.table].names):
                raise BackupError(f"{file.name} has the columns {parquet.schema_arrow.names}")
            rows = 0
            for batch in parquet.iter_batches():
                store.insert(file.table, _widened(pa.Table.from_batches([batch]), file.table))
                rows += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            raise BackupError(f"{file.name} can't be read: {error}") from error
        if rows != file.rows:
            raise BackupError(f"{file.name} has {rows} rows instead of {file.rows}")


def _widened(rows: Any, table: Table) -> Any:
    """The rows with the columns that an older version did not have yet, as a migration fills them."""
    for field in ARROW[table]:
        if field.name not in rows.column_names:
            nothing = pa.scalar("" if pa.types.is_string(field.type) else 0).cast(field.type)
            rows = rows.append_column(field.name, pa.repeat(nothing, rows.num_rows))
    return rows.select(ARROW[table].names).cast(ARROW[table])
