"""What every backend of the store must do: rows come back as they were, once; errors mean the same everywhere."""

from __future__ import annotations

import json
import math
import struct
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rushes.store.interface import (
    StoreError,
    StoreExhausted,
    StoreQueryError,
    StoreTimeout,
    StoreUnavailable,
    Table,
)
from rushes.store.schema import ARROW, MIGRATIONS, TTL_COLUMNS
from rushes.store.sql_store import SqlStore
from telemetry_store import NOW_S, RETENTION_S, unique

STALE = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]


def samples(metric: str, values: list[float], *, at_s: int = NOW_S, step_ms: int = 1) -> pa.Table:
    count = len(values)
    return pa.table(
        {
            "metric": pa.array([metric] * count),
            "series_id": pa.array([1] * count, pa.uint64()),
            "ts": pa.array([at_s * 1000 + i * step_ms for i in range(count)]).cast(pa.timestamp("ms", "UTC")),
            "value": pa.array(values, pa.float64()),
        },
        schema=ARROW["samples"],
    )


def values_of(store: SqlStore, metric: str) -> list[float]:
    rows = store.rows(
        "SELECT value FROM samples WHERE metric = {metric:String} ORDER BY ts", {"metric": metric}
    )
    return [row["value"] for row in rows]


def _a_row(table: Table, name: str) -> dict[str, Any]:
    """A row with something in every column; `name` is found in its first text column."""
    values: dict[str, Any] = {}
    for number, column in enumerate(ARROW[table]):
        kind = column.type
        if pa.types.is_timestamp(kind):
            values[column.name] = NOW_S * (1000 if kind.unit == "ms" else 1_000_000_000) + 123
        elif pa.types.is_map(kind):
            values[column.name] = [("käse", "a\tb'c\\d\n"), ("z", "")]
        elif pa.types.is_list(kind):
            values[column.name] = [number, number + 2]
        elif pa.types.is_string(kind):
            values[column.name] = f"{column.name} ☃ '\\\t"
        elif pa.types.is_floating(kind):
            values[column.name] = 0.1 + number
        else:
            values[column.name] = NOW_S if column.name in TTL_COLUMNS.values() else number + 1
    first = next(column.name for column in ARROW[table] if pa.types.is_string(column.type))
    return {**values, first: name}


@pytest.mark.parametrize("table", sorted(ARROW))
def test_a_row_of_each_table_comes_back_as_it_was(store: SqlStore, table: Table) -> None:
    name = unique(table)
    row = _a_row(table, name)
    rows = pa.table({key: pa.array([value], ARROW[table].field(key).type) for key, value in row.items()})
    store.insert(table, rows.cast(ARROW[table]))
    first = next(key for key, value in row.items() if value == name)
    found = store.query(
        f"SELECT {', '.join(row)} FROM {table} WHERE {first} = {{name:String}}", {"name": name}
    )
    assert found.cast(ARROW[table]).to_pydict() == rows.cast(ARROW[table]).to_pydict()


def test_numbers_keep_their_bits_and_a_stale_marker_is_no_other_nan(store: SqlStore) -> None:
    metric = unique("bits")
    values = [1.5, math.inf, -math.inf, -0.0, 5e-324, STALE, math.nan]
    store.insert("samples", samples(metric, values))
    found = store.query(
        "SELECT value FROM samples WHERE metric = {metric:String} ORDER BY ts", {"metric": metric}
    )
    bits = found["value"].to_numpy().view(np.uint64).tolist()
    assert bits == np.array(values).view(np.uint64).tolist()


def test_no_rows_are_no_statement_and_a_result_may_be_empty(store: SqlStore) -> None:
    store.insert("samples", ARROW["samples"].empty_table())
    found = store.query("SELECT metric, value FROM samples WHERE metric = 'none'")
    assert found.num_rows == 0
    assert found.schema.names == ["metric", "value"]
    assert list(store.batches("SELECT metric FROM samples WHERE metric = 'none'")) == []


def test_repeating_a_batch_after_a_lost_reply_adds_nothing(store: SqlStore) -> None:
    metric = unique("repeated")
    for _ in range(3):
        store.insert("samples", samples(metric, [1.0, 2.0]))
    assert values_of(store, metric) == [1.0, 2.0]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_bound_values_arrive_whatever_they_contain(store: SqlStore, data: st.DataObject) -> None:
    text = data.draw(st.text(max_size=40)).encode("utf-8", "replace").decode()
    texts = [
        t.encode("utf-8", "replace").decode() for t in data.draw(st.lists(st.text(), min_size=1, max_size=3))
    ]
    numbers = data.draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=3))
    row = store.rows(
        "SELECT {text:String} AS text, {texts:Array(String)} AS texts, {numbers:Array(UInt64)} AS numbers",
        {"text": text, "texts": texts, "numbers": numbers},
    )
    assert row == [{"text": text, "texts": texts, "numbers": numbers}]


def test_a_value_is_never_sql(store: SqlStore) -> None:
    found = store.rows("SELECT count() AS n FROM samples WHERE metric = {m:String}", {"m": "x' OR 1 = 1 -- "})
    assert found == [{"n": 0}]


def test_threads_never_see_each_others_results(store: SqlStore) -> None:
    def ask(number: int) -> list[int]:
        return [
            store.rows("SELECT {n:UInt64} AS n", {"n": number * 1000 + turn})[0]["n"] - number * 1000
            for turn in range(20)
        ]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(16))) == [list(range(20))] * 16


def test_batches_bring_everything_while_others_ask(store: SqlStore) -> None:
    seen = 0
    for batch in store.batches(
        "SELECT number, toString(number) AS text FROM numbers({n:UInt64})", {"n": 200_000}
    ):
        assert batch.schema.names == ["number", "text"]
        seen += batch.num_rows
        assert store.rows("SELECT 1 AS one") == [{"one": 1}]
    assert seen == 200_000


def test_batches_can_be_left_early_and_fail_aloud(store: SqlStore) -> None:
    stream = store.batches("SELECT number FROM numbers(1000000)")
    assert next(stream).num_rows > 0
    stream.close()  # type: ignore[attr-defined]  # a generator, as every iterator of theirs
    with pytest.raises(StoreError):
        list(store.batches("SELECT nothing FROM nowhere"))
    with pytest.raises(StoreError, match="boom"):
        list(store.batches("SELECT throwIf(number > 500000, 'boom') AS n FROM numbers(1000000)"))
    assert store.rows("SELECT 1 AS one") == [{"one": 1}]


def test_columns_that_dont_fit_are_a_defect(store: SqlStore) -> None:
    with pytest.raises(StoreError, match="samples has the columns") as caught:
        store.insert("samples", pa.table({"metric": ["x"]}))
    assert not isinstance(caught.value, StoreUnavailable)


def test_errors_tell_defects_from_bad_patterns_and_from_limits(store: SqlStore) -> None:
    with pytest.raises(StoreQueryError):
        store.rows("SELECT match('a', {pattern:String}) AS m", {"pattern": "("})
    with pytest.raises(StoreError) as caught:
        store.rows("SELECT nothing FROM nowhere")
    assert type(caught.value) is StoreError
    with pytest.raises(StoreTimeout):
        store.query("SELECT count() AS n FROM numbers(1000000000000)", timeout_s=0.05)
    with pytest.raises(StoreExhausted):
        store.query(
            "SELECT groupArray(number) AS n FROM numbers(10000000) SETTINGS max_memory_usage = 1000000"
        )
    # Not what the failed statement had counted so far, nor a piece of its reply.
    assert store.rows("SELECT 1 AS one") == [{"one": 1}]
    many = "SELECT count() AS n FROM numbers(1000) SETTINGS max_block_size = 10"
    assert store.query(many, timeout_s=30).to_pylist() == [{"n": 1000}]


def test_a_failed_insert_is_a_problem_until_one_succeeds(store: SqlStore) -> None:
    metric, setting = unique("full"), "min_free_disk_bytes_to_perform_insert"
    store._statement(f"ALTER TABLE samples MODIFY SETTING {setting} = {1 << 60}")
    try:
        with pytest.raises(StoreUnavailable, match="insert into samples"):
            store.insert("samples", samples(metric, [1.0]))
        (problem,) = store.problems()
        assert "can't be stored" in problem
        assert "the disk is full" in problem
        assert values_of(store, metric) == []
    finally:
        store._statement(f"ALTER TABLE samples RESET SETTING {setting}")
    store.insert("samples", samples(metric, [1.0]))
    assert store.problems() == []
    assert values_of(store, metric) == [1.0]


def test_partitions_are_days_and_can_be_dropped_or_cut(store: SqlStore) -> None:
    metric, day = unique("old"), NOW_S - 400 * 86_400
    store.insert("samples", samples(metric, [1.0] * 48, at_s=day, step_ms=3_600_000))
    first, second = [
        p
        for p in store.partitions()
        if p.table == "samples" and p.id < "20250101" and p.bytes > 0 and p.rows == 24
    ]
    assert first.id < second.id
    store.drop(first)
    hours = store.hours(second)
    assert [rows for _, rows in hours] == [1] * 24
    store.cut(second, hours[20][0])
    left = [p.rows for p in store.partitions() if p.table == "samples" and p.id == second.id]
    assert left == [4]
    assert len(values_of(store, metric)) == 4
    store.drop(second)
    assert values_of(store, metric) == []


def test_the_schema_is_recorded_and_keeps_rows_as_long_as_it_should(store: SqlStore) -> None:
    versions = store.rows("SELECT version FROM rushes_schema ORDER BY version")
    assert versions == [{"version": number} for number in range(1, len(MIGRATIONS) + 1)]
    tables = {
        row["name"]: row["q"]
        for row in store.rows(
            "SELECT name, create_table_query AS q FROM system.tables WHERE database = currentDatabase()"
        )
    }
    for table in TTL_COLUMNS:
        assert f"toIntervalSecond({RETENTION_S})" in tables[table]


def test_memory_and_disk_are_numbers_of_bytes(store: SqlStore) -> None:
    assert store.memory() > 1 << 20
    free = store.disk_free()
    assert free is not None
    assert free > 1 << 20


def test_a_closed_store_says_so(closed: SqlStore) -> None:
    with pytest.raises(StoreUnavailable, match="the store is closed"):
        closed.rows("SELECT 1 AS one")
    with pytest.raises(StoreUnavailable, match="the store is closed"):
        closed.insert("samples", samples("never", [1.0]))
    with pytest.raises(StoreUnavailable, match="the store is closed"):
        next(closed.batches("SELECT 1 AS one"))


def test_maps_come_as_dicts(store: SqlStore) -> None:
    row = store.rows("SELECT map('a', 'b') AS m, toInt64(-3) AS i, [1, 2] AS l")
    assert json.dumps(row) == '[{"m": {"a": "b"}, "i": -3, "l": [1, 2]}]'
