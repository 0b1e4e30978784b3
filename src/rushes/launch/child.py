"""One child process of `rushes up`: started, watched, its lines kept in a bounded log file, started again."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import IO, Final

from rushes.launch.lifetime import SUPERVISED

__all__ = ["Child"]

_LOG_BYTES: Final = 8 * 1024 * 1024
_LOG_FILES: Final = 3
_LAST_LINES: Final = 5
_SETTLED_S: Final = 20.0
_LONGEST_PAUSE_S: Final = 10.0


class _LogFile(RotatingFileHandler):
    """A bounded log file; on a full disk its lines are lost, and the child that writes them goes on."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the base class's name
        """Nothing: the base class would print a traceback for every line."""


class Child:
    """A process that is to run until it is told to stop."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        logs: Path,
        on_line: Callable[[str], None] | None = None,
    ) -> None:
        self.name: Final = name
        self._command: Final = [sys.executable, "-m", "rushes", *arguments]
        self._environment: Final = {**os.environ, **environment, SUPERVISED: "1", "PYTHONUNBUFFERED": "1"}
        self.log_path: Final = logs / f"{name}.log"
        self._on_line = on_line
        self._last: deque[str] = deque(maxlen=_LAST_LINES)
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._resume_at = 0.0
        self._pause = 0.5
        self.restarts = 0
        handler = _LogFile(self.log_path, maxBytes=_LOG_BYTES, backupCount=_LOG_FILES - 1, delay=True)
        handler.setFormatter(logging.Formatter("%(message)s"))
        self._file: Final = handler

    @property
    def started(self) -> bool:
        """Whether `start` was ever called."""
        return self._started > 0

    @property
    def pid(self) -> int:
        """The process id; 0 when it does not run."""
        return self._process.pid if self._process else 0

    @property
    def last_lines(self) -> str:
        """The last lines it wrote."""
        return "\n".join(self._last)

    def start(self) -> None:
        """Starts the process."""
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=self._environment,
            start_new_session=True,  # Ctrl-C reaches the supervisor alone, which stops all in order
        )
        self._started = time.monotonic()
        assert self._process.stderr is not None, "it was asked for"  # noqa: S101 - for the type checker
        threading.Thread(target=self._drain, args=(self._process.stderr,), daemon=True).start()

    def exit_code(self) -> int | None:
        """Its exit code, or None while it runs."""
        return self._process.poll() if self._process else None

    def ended(self) -> int | None:
        """The exit code of a process that ended unasked, told once; afterwards `restart_if_due` starts it again."""
        code = self.exit_code()
        if code is None:
            return None
        self._close_stdin()
        self._process = None
        self._pause = (
            0.5 if time.monotonic() - self._started > _SETTLED_S else min(self._pause * 2, _LONGEST_PAUSE_S)
        )
        self._resume_at = time.monotonic() + self._pause
        return code

    def restart_if_due(self) -> bool:
        """Starts a process that ended, after a pause that grows with each quick end."""
        if self._process is None and time.monotonic() >= self._resume_at:
            self.restarts += 1
            self.start()
            return True
        return False

    def terminate(self) -> None:
        """Asks it to stop."""
        if self._process and self._process.poll() is None:
            self._process.terminate()

    def wait(self, seconds: float) -> bool:
        """Waits for its end, then ends it for good; True if it went by itself."""
        if self._process is None:
            return True
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return False
        finally:
            self._close_stdin()
        return True

    def _close_stdin(self) -> None:
        if self._process and self._process.stdin:
            self._process.stdin.close()

    def _drain(self, stream: IO[bytes]) -> None:
        with stream:
            for raw in stream:
                line = raw.decode(errors="replace").rstrip("\n")
                self._last.append(line)
                self._file.handle(logging.LogRecord("child", logging.INFO, "", 0, line, None, None))
                if self._on_line:
                    self._on_line(line)
