"""What the gateway does at the same time as another one, on PostgreSQL, whose locks and answers are not SQLite's."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet

from postgres_process import PostgresProcess
from rushes.studio.jobs import open_database, remove_unused
from rushes.studio.jobs.unused import alone_with
from rushes.studio.keys import AlreadySubmittedError, KeyStore, Repeatable
from rushes.studio.webhooks import Endpoints, Outbox
from rushes.studio.webhooks.table import outbox

NOW_NS = 1_767_960_000_000_000_000


@pytest.fixture
def engine(postgres: PostgresProcess) -> Iterator[sa.Engine]:
    engine = open_database(postgres.new_database())
    yield engine
    engine.dispose()


def test_a_secret_is_rotated(engine: sa.Engine) -> None:
    keys = KeyStore(engine)
    key, first = keys.create("rotated")
    second = keys.rotate(key.id, grace_s=60)
    assert keys.find(first) == keys.find(second) is not None
    third = keys.rotate(key.id)
    assert (keys.find(first), keys.find(second)) == (None, None)
    assert keys.find(third) is not None


def test_rotations_at_once_leave_one_secret_that_works(engine: sa.Engine) -> None:
    keys = KeyStore(engine)
    key, _ = keys.create("contended")
    with ThreadPoolExecutor(4) as pool:
        secrets = list(pool.map(lambda _: keys.rotate(key.id), range(4)))
    assert sum(keys.find(secret) is not None for secret in secrets) == 1


def test_of_twins_one_is_the_first(engine: sa.Engine) -> None:
    request = Repeatable.of("key_1", "order", {"prompt": "x"}, hash_key=b"k")
    gate = threading.Barrier(6)

    def submit(n: int) -> bool:
        gate.wait()
        try:
            with engine.begin() as conn:
                request.remember(conn, f"video_{n}", at_ns=NOW_NS)
        except AlreadySubmittedError:
            return False
        return True

    with ThreadPoolExecutor(6) as pool:
        first = list(pool.map(submit, range(6)))
    assert first.count(True) == 1
    found = request.find(engine, at_ns=NOW_NS)
    assert found == (f"video_{first.index(True)}", True)


def test_a_twin_of_one_that_was_refused_is_the_first(engine: sa.Engine) -> None:
    request = Repeatable.of("key_1", "refused", {"prompt": "x"}, hash_key=b"k")
    begun = threading.Event()

    def other() -> None:
        begun.wait()
        with engine.begin() as conn:
            request.remember(conn, "video_2", at_ns=NOW_NS)

    thread = threading.Thread(target=other)
    thread.start()
    with engine.connect() as conn, conn.begin() as transaction:
        request.remember(conn, "video_1", at_ns=NOW_NS)
        begun.set()
        transaction.rollback()
    thread.join()
    found = request.find(engine, at_ns=NOW_NS)
    assert found is not None
    assert found.job_id == "video_2"


def test_each_message_is_claimed_once(engine: sa.Engine) -> None:
    Endpoints(engine, prompt_key=Fernet.generate_key()).set("key_0", "https://example.com/")
    rows = [
        {
            "id": f"{n:032x}", "key_id": f"key_{n}", "job_id": "video", "type": "video.failed", "created_ns": NOW_NS,
            "attempt": 0, "due_ns": NOW_NS, "claimed_until_ns": 0,
        }
        for n in range(20)
    ]  # fmt: skip
    with engine.begin() as conn:
        conn.execute(sa.insert(outbox), rows)
    messages = Outbox(engine, clock=lambda: NOW_NS)
    with ThreadPoolExecutor(4) as pool:
        claimed = list(pool.map(lambda _: messages.claim(), range(80)))
    ids = [message.id for message in claimed if message is not None]
    assert sorted(ids) == [row["id"] for row in rows]
    for message in claimed:
        if message is not None:
            messages.remove(message)
    assert messages.claim() is None


def test_who_reserves_a_video_waits_for_who_removes_it(engine: sa.Engine) -> None:
    order: list[str] = []
    begun = threading.Event()

    def reserve() -> None:
        begun.wait()
        with alone_with(engine, "sha256/aa.mp4"):
            order.append("reserved")

    thread = threading.Thread(target=reserve)
    thread.start()

    def delete(_name: str) -> None:
        begun.set()
        with alone_with(engine, "sha256/bb.mp4"):  # another video is nobody's concern
            order.append("another")
        thread.join(0.3)
        order.append("removed")

    remove_unused(engine, "sha256/aa.mp4", delete)
    thread.join()
    assert order == ["another", "removed", "reserved"]
