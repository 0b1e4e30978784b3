"""How a child process ends: on SIGTERM and SIGINT in order, and when its parent is gone."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

__all__ = ["SUPERVISED", "end_with_parent", "stop_on_signals"]

SUPERVISED = "RUSHES_SUPERVISED"


def stop_on_signals() -> threading.Event:
    """An event that SIGTERM and SIGINT set. Call it in the main thread."""
    stop = threading.Event()
    reading, writing = os.pipe()

    def handle(number: int, _frame: FrameType | None) -> None:
        # Nothing but this: a handler may interrupt itself, and an Event that is set while it is being set
        # waits for its own lock for ever.
        os.write(writing, bytes([number]))

    def watch() -> None:
        os.read(reading, 1)
        stop.set()

    threading.Thread(target=watch, name="rushes-signals", daemon=True).start()
    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
    return stop


def end_with_parent() -> None:
    """If `rushes up` started this process, its end (even by kill -9) is this process's SIGTERM.

    The parent holds the other end of our standard input, which the kernel closes when it dies.
    """
    if os.environ.get(SUPERVISED) != "1":
        return

    def watch() -> None:
        # Not sys.stdin: a thread that waits inside its buffer makes the interpreter abort when it ends.
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="rushes-parent", daemon=True).start()
