"""A stored video goes with the last job that has it, and never from under a worker that relies on it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rushes.studio.jobs import Deletion, JobState, remove_unused, sweep_unused
from rushes.studio.storage import Media, NoSuchObject
from studio.jobs.bench import Bench

NAME = "sha256/aa.mp4"  # what the bench's jobs are completed with


def _removed(bench: Bench, name: str = NAME) -> list[str]:
    names: list[str] = []
    remove_unused(bench.store.engine, name, names.append)
    return names


def test_it_stays_while_any_job_has_it(bench: Bench) -> None:
    one, other = bench.accept(), bench.accept()
    for job in (one, other):
        bench.advance(job.id, JobState.COMPLETED)
    assert bench.store.delete(one.id) == Deletion(NAME)
    assert _removed(bench) == []
    assert bench.store.delete(other.id) == Deletion(NAME)
    assert _removed(bench) == [NAME]


def test_it_stays_while_a_job_is_about_to_store_it(bench: Bench) -> None:
    one, other = bench.accept(), bench.accept()
    bench.advance(one.id, JobState.COMPLETED)
    bench.advance(other.id, JobState.ASSIGNED)
    assert not bench.store.reserve_media(bench.get(other.id), NAME)
    assert bench.store.start_generating(bench.get(other.id))
    assert bench.store.reserve_media(bench.get(other.id), NAME)
    assert bench.get(other.id).state is JobState.GENERATING
    assert bench.store.delete(one.id) == Deletion(NAME)
    assert _removed(bench) == []
    assert bench.store.cancel(other.id)
    assert not bench.store.reserve_media(bench.get(other.id), "sha256/bb.mp4")
    # Whoever clears up after a worker that died halfway still learns what it was about to store.
    assert bench.get(other.id).media == NAME
    assert _removed(bench) == [NAME]


def test_what_was_reserved_and_then_stored_otherwise_is_unused(bench: Bench) -> None:
    job = bench.accept()
    bench.advance(job.id, JobState.GENERATING)
    assert bench.store.reserve_media(bench.get(job.id), "sha256/bb.mp4")
    assert bench.store.reserve_media(bench.get(job.id), NAME)
    done = bench.store.complete(bench.get(job.id), media=NAME, size_bytes=9)
    assert done == bench.get(job.id)
    assert (_removed(bench, "sha256/bb.mp4"), _removed(bench)) == (["sha256/bb.mp4"], [])


def test_the_last_of_equal_videos_takes_the_file_along(bench: Bench) -> None:
    jobs = [bench.accept() for _ in range(6)]
    for job in jobs:
        bench.advance(job.id, JobState.COMPLETED)
    there = [NAME]

    def delete(job_id: str) -> None:
        bench.store.delete(job_id)
        remove_unused(bench.store.engine, NAME, lambda _: there.clear())

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(delete, [job.id for job in jobs[:5]]))
    assert there == [NAME]
    delete(jobs[5].id)
    assert there == []


def test_what_can_not_be_removed_now_is_removed_later(bench: Bench) -> None:
    job = bench.accept()
    bench.advance(job.id, JobState.COMPLETED)
    bench.store.delete(job.id)

    def unreachable(_name: str) -> None:
        raise OSError("the store can't be reached")

    with pytest.raises(OSError, match="can't be reached"):
        remove_unused(bench.store.engine, NAME, unreachable)
    with pytest.raises(OSError, match="can't be reached"):
        sweep_unused(bench.store.engine, unreachable)
    names: list[str] = []
    for _ in range(2):
        sweep_unused(bench.store.engine, names.append)
    assert names == [NAME]


class Interleaved:
    """A job that is deleted while a worker is about to store an equal video, in a real folder."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        self.bench, self.engine = bench, bench.store.engine
        self.media = Media(folder / "videos")
        self.file = folder / "video.mp4"
        self.file.write_bytes(b"equal" * 1000)
        self.name = self.media.put(self.file).name
        old, new = bench.accept(), bench.accept()
        bench.advance(old.id, JobState.GENERATING)
        assert bench.store.complete(bench.get(old.id), media=self.name, size_bytes=5000)
        bench.advance(new.id, JobState.GENERATING)
        self.old, self.new = old.id, new.id
        self.reserved = threading.Event()

    def publish(self) -> None:
        """What a worker does at the end of a render."""
        held = self.bench.get(self.new)
        assert self.bench.store.reserve_media(held, self.name)
        self.reserved.set()
        self.media.put(self.file)
        assert self.bench.store.complete(held, media=self.name, size_bytes=5000)

    def check(self) -> None:
        assert self.bench.get(self.new).state is JobState.COMPLETED
        assert self.media.head(self.name).size_bytes == 5000


def test_a_worker_that_comes_during_the_removal_waits_and_stores_again(bench: Bench, tmp_path: Path) -> None:
    way = Interleaved(bench, tmp_path)
    worker = threading.Thread(target=way.publish)

    def delete(name: str) -> None:
        worker.start()
        assert not way.reserved.wait(0.3)  # it can't go on, and so can't find the old object there
        assert way.media.head(name).size_bytes == 5000
        way.media.delete(name)
        with pytest.raises(NoSuchObject):
            way.media.head(name)

    assert bench.store.delete(way.old)
    remove_unused(way.engine, way.name, delete)
    worker.join()
    way.check()


def test_a_worker_that_came_before_the_removal_keeps_the_object(bench: Bench, tmp_path: Path) -> None:
    way = Interleaved(bench, tmp_path)
    assert bench.store.delete(way.old)  # its commit; the worker comes before its removal
    way.publish()
    remove_unused(way.engine, way.name, way.media.delete)
    way.check()


def test_a_slow_removal_holds_up_no_other_job(bench: Bench, tmp_path: Path) -> None:
    way = Interleaved(bench, tmp_path)
    assert bench.store.delete(way.old)

    def delete(_name: str) -> None:
        job = bench.accept()
        bench.advance(job.id, JobState.COMPLETED)

    remove_unused(way.engine, way.name, delete)
    way.media.delete(way.name)
    way.publish()
    way.check()


def test_removals_and_workers_at_once_lose_nothing(bench: Bench, tmp_path: Path) -> None:
    for _ in range(5):
        way = Interleaved(bench, tmp_path)
        gate = threading.Barrier(2)

        def worker(way: Interleaved = way, gate: threading.Barrier = gate) -> None:
            gate.wait()
            way.publish()

        thread = threading.Thread(target=worker)
        thread.start()
        assert bench.store.delete(way.old)
        gate.wait()
        remove_unused(way.engine, way.name, way.media.delete)
        thread.join()
        way.check()
        assert bench.store.delete(way.new)
        remove_unused(way.engine, way.name, way.media.delete)
        with pytest.raises(NoSuchObject):
            way.media.head(way.name)
