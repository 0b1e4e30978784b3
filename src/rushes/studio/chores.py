"""What nobody waits for, but somebody has to do now and then: the gateway does it in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from rushes.sdk import logs

__all__ = ["Chores"]

_LOG: Final = logs.get_logger("gateway")


class Chores:
    """Calls each of some functions again and again; what one raises is logged and keeps none of the others."""

    def __init__(self, *chores: Callable[[], object], every_s: float = 60.0) -> None:
        self._chores = chores
        self._every_s = every_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rushes-chores", daemon=True)

    def start(self) -> None:
        """Begins, with the first round at once."""
        self._thread.start()

    def stop(self) -> None:
        """Stops after the chore that is under way."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2)

    def do_all(self) -> None:
        """One round."""
        for chore in self._chores:
            try:
                chore()
            except Exception as error:  # noqa: BLE001 - the database or the store may be back the next time
                _LOG.error("log.message", error=f"a chore failed and is tried again: {type(error).__name__}")

    def _run(self) -> None:
        self.do_all()
        while not self._stop.wait(self._every_s):
            self.do_all()
