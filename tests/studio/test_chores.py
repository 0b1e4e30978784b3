"""Chores are done again and again, and one that fails keeps none of the others."""

from __future__ import annotations

import threading

from rushes.studio.chores import Chores


def test_every_chore_is_done_although_one_fails() -> None:
    done: list[str] = []
    enough = threading.Event()

    def broken() -> None:
        done.append("broken")
        raise OSError("the store can't be reached")

    def last() -> None:
        done.append("last")
        if len(done) >= 6:
            enough.set()

    chores = Chores(broken, last, every_s=0.01)
    chores.start()
    assert enough.wait(30)
    chores.stop()
    assert done[:6] == ["broken", "last"] * 3
