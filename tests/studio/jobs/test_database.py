"""Opening the database: in WAL mode, by many processes at once, and only where other processes can follow."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from rushes.studio.jobs import DatabaseUnreachableError, database, open_database


def test_a_new_database_is_in_wal_mode_and_the_users_own(tmp_path: Path) -> None:
    engine = open_database(f"sqlite:///{tmp_path}/new/studio.db")
    with engine.connect() as conn:
        assert conn.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    tables = set(sa.inspect(engine).get_table_names())
    engine.dispose()
    assert {"jobs", "api_keys", "credit_ledger", "workers"} <= tables
    assert stat.S_IMODE((tmp_path / "new" / "studio.db").stat().st_mode) == 0o600


def test_a_database_of_an_older_version_is_brought_up_to_date(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/studio.db"
    engine = open_database(url)
    with engine.begin() as conn:
        conn.exec_driver_sql("CREATE TABLE workflow_status (workflow_uuid TEXT)")  # what kept the queue once
        conn.exec_driver_sql("DROP INDEX jobs_by_place")
        conn.exec_driver_sql("DROP TABLE queue_turns")
        for column in ("ready_ns", "careful", "retries"):
            conn.exec_driver_sql(f"ALTER TABLE jobs DROP COLUMN {column}")
    engine.dispose()
    engine = open_database(url)
    known = sa.inspect(engine)
    assert {"ready_ns", "careful", "retries"} <= {column["name"] for column in known.get_columns("jobs")}
    assert "jobs_by_place" in {index["name"] for index in known.get_indexes("jobs")}
    with engine.connect() as conn:
        assert sorted(conn.exec_driver_sql("SELECT queue FROM queue_turns").scalars()) == [
            "admission",
            "encode",
            "generate",
        ]
    engine.dispose()


def test_many_may_open_it_at_the_same_time(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/studio.db"
    with ThreadPoolExecutor(4) as pool:
        engines = list(pool.map(open_database, [url] * 4))
    tables = [sorted(sa.inspect(engine).get_table_names()) for engine in engines]
    for engine in engines:
        engine.dispose()
    assert tables == [tables[0]] * 4


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql+pymysql://host/db"])
def test_what_workers_could_not_share_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="database"):
        open_database(url)


def test_a_server_that_does_not_answer_is_named_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_KNOCK_PAUSE_S", 0.0)
    with pytest.raises(DatabaseUnreachableError, match="can't be reached") as raised:
        open_database(f"postgresql://rushes:s3cret@/studio?host={tmp_path}")
    assert str(tmp_path.name) in str(raised.value)
    assert "s3cret" not in str(raised.value)
    assert "RUSHES_JOBS" in str(raised.value)
