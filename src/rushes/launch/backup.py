"""`rushes backup` and `rushes restore`, and what a running control room hands out for the first.

Only the control room can read its data folder, but it writes no backup: it streams the rows, and the command stores
them, with its own user's rights and credentials. So nobody who reaches the API can make the server write anywhere.
"""

from __future__ import annotations

import asyncio
import io
import queue
import shutil
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import httpx
import pyarrow as pa
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from rushes.launch import local
from rushes.launch.storing import open_store
from rushes.settings import Settings
from rushes.store.backup import Piece, Source, StoreSource, back_up, checked, expiring
from rushes.store.backup import restore as restore_rows
from rushes.store.backup_place import BackupError, Manifest, Place
from rushes.store.interface import Store, StoreUnavailable
from rushes.store.schema import ARROW

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["backup", "backup_routes", "restore"]

_ARROW_STREAM: Final = "application/vnd.apache.arrow.stream"
_PATH: Final = "/api/backup"
_WAITING: Final = 4  # batches that may wait for a slow client
_POLL_S: Final = 0.5
_CONNECT_S: Final = 5.0


def backup_routes(store: Store) -> list[Route]:
    """What there is to back up, and each piece of it as an Arrow stream."""
    source = StoreSource(store)

    async def pieces(_: Request) -> Response:
        found = await run_in_threadpool(source.pieces)
        return JSONResponse(
            {"pieces": [{"table": p.table, "partition": p.partition, "rows": p.rows} for p in found]}
        )

    async def piece(request: Request) -> Response:
        table, partition = request.path_params["table"], request.path_params["partition"]
        if table not in ARROW:
            return JSONResponse({"error": f"there is no table {table!r}"}, 404)
        return StreamingResponse(_streamed(source, Piece(table, partition, 0)), media_type=_ARROW_STREAM)

    return [Route(_PATH, pieces), Route(_PATH + "/{table}/{partition}", piece)]


async def _streamed(source: StoreSource, piece: Piece) -> AsyncIterator[bytes]:
    """The piece's bytes. One thread reads it from its beginning to its end, as the store demands."""
    handed = _Handed(_WAITING)
    threading.Thread(target=handed.read, args=(source, piece), name="rushes-backup", daemon=True).start()
    try:
        while (chunk := await asyncio.to_thread(handed.get)) is not None:
            if isinstance(chunk, BaseException):
                raise chunk  # the reply ends early, which its reader notices
            yield chunk
    finally:
        handed.gone.set()


class _Handed(queue.Queue[bytes | BaseException | None]):
    """What the reading thread hands to the reply: chunks, then None for a whole piece, or what went wrong."""

    def __init__(self, waiting: int) -> None:
        super().__init__(waiting)
        self.gone = threading.Event()

    def read(self, source: StoreSource, piece: Piece) -> None:
        """Hands over all of a piece, until nobody takes it any more."""
        try:
            for chunk in _encoded(source, piece):
                self._hand(chunk)
                if self.gone.is_set():
                    return
            self._hand(None)
        except BaseException as error:  # noqa: BLE001 - whatever it is, the reply must not seem whole
            self._hand(error)

    def _hand(self, chunk: bytes | BaseException | None) -> None:
        while not self.gone.is_set():
            try:
                self.put(chunk, timeout=_POLL_S)
            except queue.Full:
                continue
            return
        with suppress(queue.Full):  # for a thread that may still wait for the chunk of a client that is gone
            self.put_nowait(None)


def _encoded(source: StoreSource, piece: Piece) -> Iterator[bytes]:
    sink, options = io.BytesIO(), pa.ipc.IpcWriteOptions(compression="zstd")
    batches = source.read(piece)
    with (
        closing(batches),  # type: ignore[type-var]  # it is a generator
        pa.ipc.new_stream(sink, ARROW[piece.table], options=options) as writer,
    ):
        for batch in batches:
            writer.write_table(pa.Table.from_batches([batch]).cast(ARROW[piece.table]))
            yield sink.getvalue()
            sink.seek(0)
            sink.truncate()
    yield sink.getvalue()


class _ServerSource:
    """The rows of a control room that runs."""

    def __init__(self, ui: str, token: str | None) -> None:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self._client = httpx.Client(
            base_url=ui, headers=headers, timeout=httpx.Timeout(None, connect=_CONNECT_S), trust_env=False
        )

    def pieces(self) -> list[Piece]:
        with _told(str(self._client.base_url)):
            reply = self._client.get(_PATH).raise_for_status()
            return [Piece(**piece) for piece in reply.json()["pieces"]]

    def read(self, piece: Piece) -> Iterator[Any]:
        with (
            _told(str(self._client.base_url)),
            self._client.stream("GET", f"{_PATH}/{piece.table}/{piece.partition}") as reply,
        ):
            reply.raise_for_status()
            yield from pa.ipc.open_stream(_Reply(reply))

    def close(self) -> None:
        self._client.close()


@contextmanager
def _told(ui: str) -> Iterator[None]:
    """Says of a control room that it did not answer as it should."""
    try:
        yield
    except (httpx.HTTPError, pa.ArrowException) as error:
        raise StoreUnavailable(f"the control room at {ui} ended the backup: {error}") from error


class _Reply(io.RawIOBase):
    """A reply's bytes as a file."""

    def __init__(self, reply: httpx.Response) -> None:
        self._chunks = reply.iter_bytes()
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        done = 0
        while done < len(buffer):  # Arrow takes less than it asked for as the end
            if not self._left:
                self._left = next(self._chunks, b"")
                if not self._left:
                    break
            size = min(len(buffer) - done, len(self._left))
            buffer[done : done + size] = self._left[:size]
            self._left, done = self._left[size:], done + size
        return done


def backup(settings: Settings, to: str, console: Console) -> Manifest:
    """Writes a backup of the control room's telemetry, whether it runs or not.

    Raises:
        BackupError: it can't be written there.
        StoreError: the rows can't be read.
    """
    place = Place(to)
    with ExitStack() as stack:
        source = _source(settings, stack)
        with _bar(console, "backing up") as told:
            return back_up(source, place, told)


def _source(settings: Settings, stack: ExitStack) -> Source:
    if settings.store is None:
        try:
            running = local.read(settings.local_file)
            httpx.get(f"{running.ui}/healthz", timeout=_CONNECT_S, trust_env=False).raise_for_status()
        except (local.NotRunning, httpx.HTTPError):
            if not settings.telemetry_dir.exists():
                raise StoreUnavailable(
                    f"{settings.data_dir} has no telemetry: name the right --data-dir"
                ) from None
        else:
            token = settings.token.get_secret_value() if settings.token else None
            return stack.enter_context(closing(_ServerSource(running.ui, token)))
    return StoreSource(stack.enter_context(closing(open_store(settings, to_read=True))))


def restore(settings: Settings, source: str, console: Console) -> Manifest:
    """Reads a backup into a data folder that has no telemetry yet, or into an empty database.

    A data folder has all of it in the end, or nothing.

    Raises:
        BackupError: there is no whole backup there, or there is telemetry already.
        StoreError: the store can't be opened or does not take the rows.
    """
    place = Place(source)
    late = expiring(checked(place), settings.retention, time.time())
    if late:
        console.print(
            f"{late} rows are older than the retention of {settings.retention // 86_400} days and will be dropped; "
            "give --retention to keep them, here and when the control room is started"
        )
    if settings.store is not None:
        with closing(open_store(settings)) as store, _bar(console, "restoring") as told:
            return restore_rows(place, store, told)
    target = settings.telemetry_dir
    if target.exists():
        raise BackupError(f"{target} exists already: restore into another --data-dir, or move it away")
    part = settings.data_dir / "restoring"
    shutil.rmtree(part, ignore_errors=True)  # of a restore that was interrupted
    part.mkdir(parents=True)
    try:
        with _bar(console, "restoring") as told:
            inner = settings.model_copy(update={"data_dir": part})
            with closing(open_store(inner)) as store:
                manifest = restore_rows(place, store, told)
        inner.telemetry_dir.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return manifest


@contextmanager
def _bar(console: Console, what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar, as a callback with rows done and rows in all."""
    # Only a command shows it: the control room starts without.
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TextColumn("rows"), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, whole: progress.update(task, completed=done, total=whole)
