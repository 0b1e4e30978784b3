"""Videos under the name of their content, so that a name can't lie and storing twice is storing once.

A recovered job that uploads again writes the same name with the same bytes: whoever comes second finds the object
there. Names come from outside and are checked before they reach the store.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, from_url

from rushes.studio.storage.errors import NoSuchObject, StorageError, explain, redact

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from obstore.store import ObjectStore

NAME: Final = re.compile(r"sha256/(?P<shelf>[0-9a-f]{2})/(?P<sha256>(?P=shelf)[0-9a-f]{62})\.mp4")
PART_BYTES: Final = 5 * 1024 * 1024  # the smallest part S3 takes
CHUNK_BYTES: Final = 256 * 1024
READ_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object: `name` is its key in the store, `sha256` the hex digest of its bytes."""

    name: str
    size_bytes: int
    sha256: str


class Media:
    """The videos of one store. Its synchronous methods block: from an event loop call them in a thread."""

    def __init__(self, location: Path | str, **options: Any) -> None:
        """Open the store at `location`: a folder (made if need be) or a URL that obstore knows.

        Args:
            location: a path, or `file://`, `s3://`, `gs://`, `az://`, `https://`, `memory://`. Credentials are best
                left to the provider's own environment variables.
            options: handed to obstore's store (`endpoint`, `client_options`, `retry_config`).

        Raises:
            StorageError: the location is no store.
        """
        local = isinstance(location, Path) or "://" not in location
        self.location: Final = str(location) if local else redact(str(location))
        with self._told("open"):
            if local:
                self._store: ObjectStore = LocalStore(location, mkdir=True)
            elif str(location).startswith("file:"):
                self._store = LocalStore.from_url(str(location), mkdir=True)
            else:
                self._store = from_url(str(location), **options)

    def name_of(self, path: Path) -> str:
        """What the file at `path` will be called, before it is stored. Raises StorageError if it can't be read."""
        with self._told(f"read {path} for"):
            digest = _digest(path)
        return f"sha256/{digest[:2]}/{digest}.mp4"

    def put(self, path: Path) -> StoredObject:
        """Store the file at `path` and return what it is called; an object that is already there stays.

        The file is streamed, twice: for its name, then for its content. The object appears whole or not at all.

        Raises:
            StorageError: it could not be read or written, or changed meanwhile.
        """
        with self._told(f"store {path} in"):
            digest = _digest(path)
            name = f"sha256/{digest[:2]}/{digest}.mp4"
            size = path.stat().st_size
            try:
                present = self.head(name)
            except NoSuchObject:
                present = None
            if present is None or present.size_bytes != size:  # of another size: damaged, and mended by this
                obstore.put(
                    self._store, name, _parts(path, digest), use_multipart=True, chunk_size=PART_BYTES
                )
                self._flush(name)
        return StoredObject(name, size, digest)

    def head(self, name: str) -> StoredObject:
        """What the store knows of `name`. Raises NoSuchObject, StorageError."""
        digest = _check(name)
        with self._told("look into", name):
            return StoredObject(name, int(obstore.head(self._store, name)["size"]), digest)

    def open(self, name: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes `[start, end)` of `name` in pieces; `end` beyond the last byte, or None, is the last byte.

        A name that can't be one raises NoSuchObject at once, one that isn't there at the first piece, as does
        StorageError; ValueError for a range that starts beyond the object or ends before it starts.
        """
        _check(name)
        return self._pieces(name, start, end)

    def open_sync(self, name: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """`open`, for callers without an event loop."""
        _check(name)
        return self._pieces_sync(name, start, end)

    def delete(self, name: str) -> None:
        """Remove `name`; one that is already gone is no error. Raises NoSuchObject for a name that can't be one."""
        _check(name)
        try:
            with self._told("delete from", name):
                obstore.delete(self._store, name)
        except NoSuchObject:
            return

    async def _pieces(self, name: str, start: int, end: int | None) -> AsyncIterator[bytes]:
        with self._told("read from", name):
            size = int((await obstore.head_async(self._store, name))["size"])
            if span := _span(start, end, size):
                found = await obstore.get_async(self._store, name, options={"range": span})
                async for piece in found.stream(min_chunk_size=CHUNK_BYTES):
                    yield bytes(piece)

    def _pieces_sync(self, name: str, start: int, end: int | None) -> Iterator[bytes]:
        with self._told("read from", name):
            size = int(obstore.head(self._store, name)["size"])
            if span := _span(start, end, size):
                found = obstore.get(self._store, name, options={"range": span})
                for piece in found.stream(min_chunk_size=CHUNK_BYTES):
                    yield bytes(piece)

    def _flush(self, name: str) -> None:
        """A local object must survive a power cut, as a remote one does: its content, then each folder's entry."""
        if not isinstance(self._store, LocalStore) or self._store.prefix is None:
            return
        target = Path(self._store.prefix) / name
        for place in (target, *list(target.parents)[:3]):
            descriptor = os.open(place, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    @contextmanager
    def _told(self, doing: str, name: str | None = None) -> Iterator[None]:
        """Turn whatever the store raises into our two errors, with the cause but without its chain of secrets."""
        try:
            yield
        except (NotFoundError, FileNotFoundError) as error:
            if name is not None:
                raise NoSuchObject(name) from None
            raise StorageError(f"could not {doing} the store {self.location}: {explain(error)}") from None
        except (BaseError, OSError) as error:
            raise StorageError(f"could not {doing} the store {self.location}: {explain(error)}") from None


def _check(name: str) -> str:
    """The digest in `name`, which may come from anywhere."""
    found = NAME.fullmatch(name) if isinstance(name, str) else None
    if found is None:
        raise NoSuchObject(name)
    return found["sha256"]


def _span(start: int, end: int | None, size: int) -> tuple[int, int] | None:
    last = size if end is None else min(end, size)
    if not 0 <= start <= size or (end is not None and end < start):
        raise ValueError(f"the range [{start}, {'end' if end is None else end}) is not within {size} bytes")
    return (start, last) if last > start else None


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _parts(path: Path, expected: str) -> Iterator[bytes]:
    """The file in pieces; if it is not what was hashed, the error stops the upload before anything is published."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(READ_BYTES):
            digest.update(part)
            yield part
    if digest.hexdigest() != expected:
        raise OSError(f"{path} changed while it was being stored")
