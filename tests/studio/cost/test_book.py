"""The attempts in a real database, and the meter that writes them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from rushes.studio.cost import CPU, Attempt, Book, Meter
from rushes.studio.jobs import Job

Make = Callable[..., Attempt]
SECOND = 1_000_000_000


def _job(number: int = 2) -> Job:
    return Job(
        id="video_1", key_id="key_1", tier="free", model="LTX2", seconds=1, width=64, height=64, num_frames=9, fps=8,
        steps=8, seed=1, guidance_scale=1, trace_id="a" * 32, root_span_id="b" * 16, accepted_ns=1, attempt=number,
    )  # fmt: skip


class Clock:
    """Nanoseconds that move when told to; every wait of a meter's thread is over once they have moved."""

    def __init__(self) -> None:
        self.now = 100 * SECOND

    def __call__(self) -> int:
        return self.now


def test_an_attempt_is_written_once_and_counted_once(book: Book, attempt: Make) -> None:
    first = attempt(1, 0, 4)
    book.open(first)
    book.open(replace(first, end_ns=first.end_ns + 1))
    assert book.attempts("video_1") == [first]
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda _: book.take("video_1"), range(16)))
    assert sum(found[0].untold_s for found in taken) == 4
    book.reach("video_1", 1, first.end_ns + SECOND)
    assert [a.untold_s for a in book.take("video_1")] == [1]
    assert [a.untold_s for a in book.take("video_1")] == [0]


@pytest.mark.parametrize(
    ("saved", "kept"),
    [
        (25, (10, 25, 0)),  # from what the second one saved: what the first one had kept stays of use
        (5, (5, 0, 0)),  # from an older one, of the first
        (None, (0, 0, 0)),  # from the beginning
    ],
)
def test_what_a_resumed_render_owes_to_earlier_ones(
    book: Book, attempt: Make, saved: float | None, kept: tuple[int, ...]
) -> None:
    made = [attempt(2, 0, 12, kept=10), attempt(4, 20, 30, kept=21), attempt(6, 40, 41)]
    for one in (attempt(1, -5, -1, role="encode"), *made):
        book.open(one)
    t0 = made[0].start_ns
    book.resumed("video_1", None if saved is None else t0 + round(saved * SECOND))
    found = [a for a in book.attempts("video_1") if a.role == "generate"]
    assert [max(0, a.kept_ns - t0) // SECOND for a in found] == list(kept)


def test_a_cause_is_kept(book: Book, attempt: Make) -> None:
    book.open(attempt(1, 0, 1))
    book.because("video_1", 1, "hung")
    assert book.attempts("video_1")[0].cause == "hung"


def test_a_meter_counts_as_it_goes(book: Book) -> None:
    clock, noted = Clock(), threading.Event()

    class Told(Book):
        def reach(self, job_id: str, number: int, end_ns: int) -> None:
            super().reach(job_id, number, end_ns)
            if end_ns > 105 * SECOND:
                noted.set()

    meter = Meter(Told(_engine(book)), _job(), "generate", CPU, interval_s=0.001, wall=clock, monotonic=clock)
    with meter:
        clock.now += 7 * SECOND
        assert noted.wait(30)
        # What a worker that dies here leaves behind.
        assert [(a.number, a.role, a.seconds) for a in book.attempts("video_1")] == [(2, "generate", 7)]
        clock.now += SECOND
        meter.stop("retry")
        clock.now += SECOND
    assert [(a.seconds, a.cause) for a in book.attempts("video_1")] == [(8, "retry")]


def test_a_database_that_refuses_costs_the_count_and_not_the_video(book: Book) -> None:
    class Refusing(Book):
        def open(self, attempt: Attempt) -> None:
            raise OperationalError("insert", {}, OSError("disk full"))

    with Meter(Refusing(_engine(book)), _job(), "encode", CPU) as meter:
        meter.stop()
    assert book.attempts("video_1") == []


def _engine(book: Book) -> sa.Engine:
    return book._engine
