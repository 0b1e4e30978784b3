"""One collector a host: whoever holds the lock reads the GPUs, the others stand by.

The kernel lets go of a flock when its process dies, however it dies, so that another takes over.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

__all__ = ["HostLock"]


class HostLock:
    """An exclusive flock on a file. The file stays; its text is the holder's process id, for whoever looks."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None
        self._pid = 0

    @property
    def held(self) -> bool:
        """Whether this object holds the lock; a forked child does not hold its parent's."""
        return self._fd is not None and self._pid == os.getpid()

    def acquire(self) -> bool:
        """Takes the lock if nobody has it, without waiting; True if it is held now.

        Raises:
            OSError: the file can't be opened or made.
        """
        if self.held:
            return True
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        self._fd, self._pid = fd, os.getpid()
        return True

    def release(self) -> None:
        """Lets go; harmless when the lock is not held."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
