"""The data folder around the engine: who owns it, and what a kill can leave behind in it.

The engine notes the id of an inserted block, so that a repetition is dropped, just before the block's files get
their name. Killed between the two, it would come up with an id of rows that it does not have, take the client's
repetition for one, and acknowledge what is lost. Such ids are forgotten before the engine starts.
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
from pathlib import Path
from typing import IO, Final

from rushes.store.interface import StoreUnavailable

__all__ = ["forget_unwritten", "own"]

_logger = logging.getLogger(__name__)
_ADDED: Final = "1"
# partition, first and last block, level, and what it was changed by
_PART = re.compile(r"(?P<partition>\w+)_(?P<first>\d+)_(?P<last>\d+)_\d+(?:_\d+)?")


def own(path: Path) -> IO[str]:
    """Make the folder if need be and hold it for this process until the returned file is closed.

    Raises:
        StoreUnavailable: it can't be made or written, or another process has it.
    """
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        held = (path / "rushes.lock").open("a+")
    except OSError as error:
        raise StoreUnavailable(f"the data folder {path} can't be used: {error.strerror}") from error
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        held.close()
        raise StoreUnavailable(
            f"the data folder {path} can't be opened; another process is using it"
        ) from error
    return held


def forget_unwritten(path: Path) -> int:
    """Remove ids of blocks that aren't there from the engine's logs. Only while no engine has the folder.

    Returns:
        How many were forgotten.
    """
    forgotten = 0
    for log in path.glob("store/*/*/deduplication_logs/deduplication_log_*.txt"):
        there = _parts(log.parent.parent)
        lines = log.read_bytes().splitlines(keepends=True)
        kept = [line for line in lines if _covered(line, there)]
        if len(kept) < len(lines):
            forgotten += len(lines) - len(kept)
            _replace(log, b"".join(kept), path / "rushes.rewritten")
    if forgotten:
        _logger.warning("%d blocks were noted but not written when the store was stopped", forgotten)
    return forgotten


def _parts(table: Path) -> list[tuple[str, int, int]]:
    found = (_PART.fullmatch(entry.name) for entry in os.scandir(table) if entry.is_dir())
    return [(part["partition"], int(part["first"]), int(part["last"])) for part in found if part]


def _covered(line: bytes, there: list[tuple[str, int, int]]) -> bool:
    """Whether the rows that a line speaks of are in a part; what isn't understood stays as it is."""
    fields = line.decode("utf-8", "replace").split("\t")
    part = _PART.fullmatch(fields[1]) if len(fields) > 1 else None
    if fields[0] != _ADDED or part is None:
        return True
    first, last = int(part["first"]), int(part["last"])
    return any(
        partition == part["partition"] and begin <= first and last <= end for partition, begin, end in there
    )


def _replace(log: Path, content: bytes, fresh: Path) -> None:
    # Not beside the log: the engine takes every file there for one.
    with fresh.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(log)
