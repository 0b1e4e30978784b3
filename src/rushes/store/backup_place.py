"""Where a backup lies: a folder or an object store, with its manifest, written last, without which it is none."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, from_url

from rushes.store.interface import Table
from rushes.store.schema import ARROW, MIGRATIONS

if TYPE_CHECKING:
    from obstore.store import ObjectStore

__all__ = ["BackupError", "File", "Manifest", "Place"]

_MANIFEST: Final = "manifest.json"
_FORMAT: Final = 1
_READ_BYTES: Final = 1 << 20


class BackupError(Exception):
    """A backup can't be written or read; the text says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class File:
    """A Parquet file of a backup: rows of one partition of one table."""

    name: str
    table: Table
    partition: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup consists of. `schema` is the version of the tables, `created_at` ISO 8601."""

    rushes: str
    schema: int
    created_at: str
    files: tuple[File, ...]

    @property
    def rows(self) -> int:
        return sum(file.rows for file in self.files)

    def dumps(self) -> bytes:
        body = {"format": _FORMAT, **asdict(self)}
        return json.dumps({**body, "sha256": _digest(body)}, indent=1).encode()

    @classmethod
    def loads(cls, data: bytes) -> Self:
        """Raises BackupError if it isn't one that `dumps` has written, or one of a newer version."""
        try:
            body = json.loads(data)
            told = body.pop("sha256")
            known = body.pop("format")
            if known != _FORMAT:
                raise BackupError(
                    f"the backup has format {known}, this version reads {_FORMAT}: use a newer rushes"
                )
            found = cls(
                rushes=body["rushes"],
                schema=body["schema"],
                created_at=body["created_at"],
                files=tuple(File(**file) for file in body["files"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BackupError(f"the backup's {_MANIFEST} can't be read: {error}") from error
        if told != _digest({"format": known, **asdict(found)}):
            raise BackupError(f"the backup's {_MANIFEST} was changed: its checksum does not fit")
        if found.schema > len(MIGRATIONS):
            raise BackupError(
                f"the backup has schema version {found.schema}, this version knows {len(MIGRATIONS)}: "
                "use the newer version of rushes that wrote it"
            )
        for file in found.files:
            if file.table not in ARROW:
                raise BackupError(f"the backup has a table {file.table!r} that this version does not know")
        return found


class Place:
    """A folder (made if need be) or a URL that obstore knows: s3://, gs://, az://, file://, memory://.

    Credentials are the provider's own environment variables.

    Raises:
        BackupError: it is no such place.
    """

    def __init__(self, location: str) -> None:
        parts = urlsplit(location) if "://" in location else None
        # Without what may hold a secret.
        self._location = location
        self.shown: Final = f"{parts.scheme}://{parts.hostname or ''}{parts.path}" if parts else location
        with self._told("open"):
            self._store: ObjectStore = (
                LocalStore(Path(location).expanduser().absolute(), mkdir=True)
                if parts is None
                else LocalStore.from_url(location, mkdir=True)
                if parts.scheme == "file"
                else from_url(location)
            )

    def manifest(self) -> Manifest | None:
        """The manifest; None if there is none. Raises BackupError for one that can't be used."""
        with self._told("read"):
            try:
                data = bytes(obstore.get(self._store, _MANIFEST).bytes())
            except (NotFoundError, FileNotFoundError):
                return None
        return Manifest.loads(data)

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest. The files must all be there."""
        for file in manifest.files:
            self.check(file)
        with self._told("write"):
            obstore.put(self._store, _MANIFEST, manifest.dumps())

    def check(self, file: File) -> None:
        """Raises BackupError unless the file is there, of its size."""
        with self._told("read"):
            try:
                size = int(obstore.head(self._store, file.name)["size"])
            except (NotFoundError, FileNotFoundError):
                raise BackupError(
                    f"the backup in {self.shown} is not whole: {file.name} is missing"
                ) from None
        if size != file.bytes:
            raise BackupError(
                f"the backup in {self.shown} is damaged: {file.name} has {size} bytes instead of {file.bytes}"
            )

    @contextmanager
    def writing(self, name: str) -> Iterator[Hashed]:
        """A file to write to; it is there when the block ends, and is worth nothing if the block fails."""
        with self._told("write"):
            target = obstore.open_writer(self._store, name)
            file = Hashed(target)
            yield file
            target.close()

    def fetch(self, file: File, into: IO[bytes]) -> None:
        """Copy the file and check it. Raises BackupError if it isn't what was written."""
        digest = hashlib.sha256()
        with self._told("read"):
            for piece in obstore.get(self._store, file.name).stream(min_chunk_size=_READ_BYTES):
                digest.update(piece)
                into.write(piece)
        into.flush()
        if digest.hexdigest() != file.sha256:
            raise BackupError(
                f"the backup in {self.shown} is damaged: the checksum of {file.name} does not fit"
            )

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        try:
            yield
        except (BaseError, OSError, ValueError) as error:
            # Its first line, for the rest are internals; from None, for those name the URL.
            reason = str(error).partition("\n")[0].replace(self._location, self.shown)
            raise BackupError(f"can't {what} the backup in {self.shown}: {reason}") from None


class Hashed:
    """A file that is only written to, with the count and the SHA-256 of what was."""

    def __init__(self, target: Any) -> None:
        self._target = target
        self._digest = hashlib.sha256()
        self.bytes = 0
        self.closed = False

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def write(self, data: Any) -> int:
        view = bytes(data)
        self._digest.update(view)
        self._target.write(view)
        self.bytes += len(view)
        return len(view)

    def flush(self) -> None:
        pass

    def close(self) -> None:
        """Whoever opened the target closes it."""


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
