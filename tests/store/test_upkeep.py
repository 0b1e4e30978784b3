"""Upkeep: old days go when there is too much, new ones stay, and what is wrong is said."""

from __future__ import annotations

import logging

import pytest

from platform_process import eventually
from rushes.store.clickhouse_store import ClickHouseStore
from rushes.store.upkeep import Upkeep
from telemetry_store import NOW_S

DAY_S = 86_400
FIRST_DAY = NOW_S - 10 * DAY_S


class Clock:
    def __init__(self) -> None:
        self.wall, self.steady = float(NOW_S), 1000.0

    def pass_(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


def fill(store: ClickHouseStore, table: str, days: int, rows: int) -> None:
    """Random rows over whole days, so that nothing compresses them away."""
    columns = {
        "samples": "'m' AS metric, number AS series_id, {ts} AS ts, rand64() / 3 AS value",
        "logs": "{ts} AS ts, randomPrintableASCII(40) AS body",
    }[table]
    every = DAY_S * days / rows
    ts = f"toDateTime64({FIRST_DAY}, 3, 'UTC') + toIntervalMillisecond(number * {int(every * 1000)})"
    names = {"samples": "metric, series_id, ts, value", "logs": "ts, body"}[table]
    store._statement(
        f"INSERT INTO {table} ({names}) SELECT {columns.format(ts=ts)} FROM numbers({rows}) "
        "SETTINGS max_partitions_per_insert_block = 1000"
    )


def days(store: ClickHouseStore, table: str) -> list[str]:
    return [p.id for p in store.partitions() if p.table == table]


def test_nothing_goes_while_there_is_room(empty: ClickHouseStore) -> None:
    fill(empty, "samples", 4, 4000)
    upkeep = Upkeep(empty, max_bytes=1 << 30)
    upkeep.look()
    assert len(days(empty, "samples")) == 4
    assert upkeep.figures.rows["samples"] == 4000
    assert upkeep.figures.rows["spans"] == 0
    assert upkeep.figures.bytes["samples"] > 4000
    assert upkeep.figures.parts["samples"] == 4
    assert upkeep.figures.dropped_rows == {}
    assert (upkeep.figures.memory or 0) > 1 << 20


def test_the_oldest_days_of_the_largest_table_go_and_are_counted_and_said(
    empty: ClickHouseStore, caplog: pytest.LogCaptureFixture
) -> None:
    fill(empty, "samples", 6, 60_000)
    fill(empty, "logs", 6, 600)
    samples = [p for p in empty.partitions() if p.table == "samples"]
    kept = sum(p.bytes for p in empty.partitions()) - samples[0].bytes - samples[1].bytes
    upkeep = Upkeep(empty, max_bytes=kept + 100)
    with caplog.at_level(logging.WARNING):
        upkeep.look()
    assert days(empty, "samples") == [p.id for p in samples[2:]]
    assert len(days(empty, "logs")) == 6
    assert upkeep.figures.dropped_rows == {"samples": 20_000}
    assert upkeep.figures.dropped_bytes["samples"] == samples[0].bytes + samples[1].bytes
    assert [f"dropped the day {p.id} of samples, 10000 rows" in caplog.text for p in samples] == (
        [True] * 2 + [False] * 4
    )
    upkeep.look()
    assert upkeep.figures.dropped_rows == {"samples": 20_000}, "there is room now"


def test_of_a_day_that_is_too_much_the_oldest_hours_go_and_never_the_last(empty: ClickHouseStore) -> None:
    fill(empty, "samples", 1, 48_000)
    fill(empty, "logs", 1, 24)
    (samples,) = [p for p in empty.partitions() if p.table == "samples"]
    upkeep = Upkeep(empty, max_bytes=samples.bytes // 2)
    upkeep.look()
    hours = empty.hours(next(p for p in empty.partitions() if p.table == "samples"))
    newest = FIRST_DAY + 23 * 3600
    assert hours[-1] == (newest, 2000)
    assert 8 <= len(hours) <= 12
    assert upkeep.figures.dropped_rows == {"samples": 48_000 - 2000 * len(hours)}

    Upkeep(empty, max_bytes=1).look()
    left = {p.table: empty.hours(p) for p in empty.partitions() if p.table in {"samples", "logs"}}
    assert left == {"samples": [(newest, 2000)], "logs": [(newest, 1)]}


def test_a_cut_that_a_server_has_not_ended_yet_is_not_asked_for_again(empty: ClickHouseStore) -> None:
    fill(empty, "samples", 1, 48_000)
    (samples,) = [p for p in empty.partitions() if p.table == "samples"]
    empty._statement("SYSTEM STOP MERGES samples")
    empty._statement("ALTER TABLE samples DELETE WHERE series_id = 7 SETTINGS mutations_sync = 0")
    upkeep = Upkeep(empty, max_bytes=samples.bytes // 2)
    upkeep.look()
    assert upkeep.figures.rows["samples"] == 48_000
    assert upkeep.figures.dropped_rows == {}
    empty._statement("SYSTEM START MERGES samples")
    eventually(lambda: not empty.is_cutting(), what="the cut's end")
    upkeep.look()
    assert upkeep.figures.rows["samples"] < 24_000


def test_a_clock_that_is_set_back_is_said_until_it_has_caught_up(empty: ClickHouseStore) -> None:
    clock = Clock()
    upkeep = Upkeep(empty, clock=lambda: clock.wall, monotonic=lambda: clock.steady)
    clock.pass_(30)
    upkeep.look()
    assert upkeep.problems() == []
    clock.wall -= 3600
    clock.pass_(30)
    upkeep.look()
    (problem,) = upkeep.problems()
    assert "set back by 3600 s" in problem
    clock.wall -= 600
    clock.pass_(30)
    upkeep.look()
    assert len(upkeep.problems()) == 1, "further back is the same problem"
    clock.pass_(3600)
    upkeep.look()
    assert len(upkeep.problems()) == 1
    clock.pass_(700)
    upkeep.look()
    assert upkeep.problems() == []


def test_a_clock_that_jumps_ahead_or_drifts_is_no_problem(empty: ClickHouseStore) -> None:
    clock = Clock()
    upkeep = Upkeep(empty, clock=lambda: clock.wall, monotonic=lambda: clock.steady)
    for jump in (7200.0, -3.0, -3.0, 0.0):
        clock.wall += jump
        clock.pass_(30)
        upkeep.look()
    assert upkeep.problems() == []


def test_rows_are_taken_and_found_whatever_the_clock_does(empty: ClickHouseStore) -> None:
    clock = Clock()
    upkeep = Upkeep(empty, max_bytes=1 << 30, clock=lambda: clock.wall, monotonic=lambda: clock.steady)
    fill(empty, "samples", 10, 1000)
    clock.wall -= 5 * DAY_S
    upkeep.look()
    fill(empty, "logs", 2, 10)
    assert empty.rows("SELECT count() AS n FROM samples") == [{"n": 1000}]
    assert empty.rows("SELECT count() AS n FROM logs") == [{"n": 10}]


def test_upkeep_goes_on_by_itself_until_it_is_closed(empty: ClickHouseStore) -> None:
    fill(empty, "samples", 2, 2000)
    upkeep = Upkeep(empty)
    upkeep.start()
    assert eventually(lambda: upkeep.figures.rows.get("samples"), what="a look") == 2000
    upkeep.close()
    assert not upkeep._thread.is_alive()
    with pytest.raises(ValueError, match="not 0"):
        Upkeep(empty, max_bytes=0)
