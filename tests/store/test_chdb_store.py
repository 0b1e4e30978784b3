"""The embedded store: what is inserted stays, comes back as it was, and can't be mixed up."""

from __future__ import annotations

import math
import os
import signal
import struct
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rushes.store.chdb_store import ChdbStore
from rushes.store.interface import StoreError, StoreQueryError, StoreUnavailable
from rushes.store.schema import ARROW, MIGRATIONS
from telemetry_store import NOW_S, shared_store, unique

STALE = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]


def samples(metric: str, values: list[float], series_id: int = 1) -> pa.Table:
    count = len(values)
    return pa.table(
        {
            "metric": pa.array([metric] * count),
            "series_id": pa.array([series_id] * count, pa.uint64()),
            "ts": pa.array([NOW_S * 1000 + i for i in range(count)]).cast(pa.timestamp("ms", "UTC")),
            "value": pa.array(values, pa.float64()),
        },
        schema=ARROW["samples"],
    )


def values_of(store: ChdbStore, metric: str) -> list[float]:
    rows = store.rows(
        "SELECT value FROM samples WHERE metric = {metric:String} ORDER BY ts", {"metric": metric}
    )
    return [row["value"] for row in rows]


def test_samples_come_back_as_they_were(store: ChdbStore) -> None:
    metric = unique("samples")
    store.insert("samples", samples(metric, [1.5, float("inf"), -0.0, 1e-308]))
    assert values_of(store, metric) == [1.5, float("inf"), -0.0, 1e-308]


def test_a_stale_marker_keeps_its_bits(store: ChdbStore) -> None:
    metric = unique("stale")
    store.insert("samples", samples(metric, [STALE, math.nan]))
    table = store.query(
        "SELECT value FROM samples WHERE metric = {metric:String} ORDER BY ts", {"metric": metric}
    )
    bits = table["value"].to_numpy().view(np.uint64)
    assert int(bits[0]) == 0x7FF0000000000002
    assert int(bits[1]) != 0x7FF0000000000002


def test_repeating_a_batch_after_a_lost_reply_adds_nothing(store: ChdbStore) -> None:
    metric = unique("repeated")
    for _ in range(3):
        store.insert("samples", samples(metric, [1.0, 2.0]))
    assert values_of(store, metric) == [1.0, 2.0]


@settings(max_examples=60)
@given(text=st.text(max_size=40), texts=st.lists(st.text(max_size=12), min_size=1, max_size=4))
def test_bound_values_arrive_whatever_they_contain(text: str, texts: list[str]) -> None:
    text, texts = _encodable(text), [_encodable(one) for one in texts]
    row = shared_store().rows(
        "SELECT {text:String} AS text, {texts:Array(String)} AS texts", {"text": text, "texts": texts}
    )
    assert row == [{"text": text, "texts": texts}]


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def test_a_value_is_never_sql(store: ChdbStore) -> None:
    metric = "x' OR 1 = 1 -- "
    assert store.rows("SELECT count() AS n FROM samples WHERE metric = {m:String}", {"m": metric}) == [
        {"n": 0}
    ]


def test_threads_never_see_each_others_results(store: ChdbStore) -> None:
    def ask(number: int) -> list[int]:
        return [
            store.rows("SELECT {n:UInt64} AS n", {"n": number * 1000 + turn})[0]["n"] - number * 1000
            for turn in range(50)
        ]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(16))) == [list(range(50))] * 16


def test_columns_that_dont_fit_are_a_defect(store: ChdbStore) -> None:
    with pytest.raises(StoreError, match="samples has the columns") as caught:
        store.insert("samples", pa.table({"metric": ["x"]}))
    assert not isinstance(caught.value, StoreUnavailable)


def test_a_full_disk_is_an_error_and_never_an_acknowledgement(store: ChdbStore) -> None:
    metric = unique("full")
    setting = "min_free_disk_bytes_to_perform_insert"
    store._statement(f"ALTER TABLE samples MODIFY SETTING {setting} = {1 << 60}")
    try:
        with pytest.raises(StoreUnavailable, match="insert into samples"):
            store.insert("samples", samples(metric, [1.0]))
    finally:
        store._statement(f"ALTER TABLE samples RESET SETTING {setting}")
    assert values_of(store, metric) == []
    store.insert("samples", samples(metric, [1.0]))
    assert values_of(store, metric) == [1.0]


def test_errors_tell_defects_from_bad_patterns(store: ChdbStore) -> None:
    with pytest.raises(StoreQueryError):
        store.rows("SELECT match('a', {pattern:String}) AS m", {"pattern": "("})
    with pytest.raises(StoreError) as caught:
        store.rows("SELECT nothing FROM nowhere")
    assert type(caught.value) is StoreError


def test_migrations_are_recorded_once(store: ChdbStore) -> None:
    versions = store.rows("SELECT version FROM rushes_schema ORDER BY version")
    assert versions == [{"version": number} for number in range(1, len(MIGRATIONS) + 1)]


def test_retention_must_be_one_the_engine_can_count(tmp_path: Path) -> None:
    for seconds in (0, 100 * 366 * 86_400):
        with pytest.raises(ValueError, match="retention must be from"):
            ChdbStore(tmp_path / "store", retention_s=seconds)


def _python(code: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    prelude = f"""
    import os, sys, signal
    from pathlib import Path
    import pyarrow as pa
    from rushes.store.chdb_store import ChdbStore
    from rushes.store.interface import StoreError, StoreUnavailable
    from rushes.store.schema import ARROW
    def rows(metric, values):
        n = len(values)
        ts = pa.array(range({NOW_S * 1000}, {NOW_S * 1000} + n)).cast(pa.timestamp("ms", "UTC"))
        columns = [[metric] * n, pa.array([1] * n, pa.uint64()), ts, values]
        return pa.table(columns, schema=ARROW["samples"])
    """
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(prelude) + textwrap.dedent(code), *arguments],
        check=check,
        capture_output=True,
        text=True,
        timeout=90,
    )


def test_an_acknowledged_insert_survives_kill_9_and_restarts(tmp_path: Path) -> None:
    path = str(tmp_path / "a 50% folder & spaces #1")
    killed = _python(
        """
        store = ChdbStore(Path(sys.argv[1]), retention_s=20 * 365 * 86400)
        for i in range(20):
            store.insert("samples", rows("survivor", [float(i)] * (i + 1)))
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        path,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    again = _python(
        """
        for retention in (20, 10):
            store = ChdbStore(Path(sys.argv[1]), retention_s=retention * 365 * 86400)
            print(store.rows("SELECT count() AS n FROM samples WHERE metric = 'survivor'")[0]["n"])
            ttl = store.rows("SELECT create_table_query AS q FROM system.tables WHERE name = 'samples'")[0]["q"]
            print(f"toIntervalSecond({retention * 365 * 86400})" in ttl)
            print(store.rows("SELECT count() AS n FROM rushes_schema")[0]["n"])
            store.close()
        """,
        path,
    )
    assert again.stdout.split() == ["210", "True", str(len(MIGRATIONS))] * 2
    assert any(Path(path).iterdir()), "the engine wrote elsewhere"


def test_one_process_owns_the_folder_and_a_newer_schema_is_left_alone(tmp_path: Path) -> None:
    done = _python(
        """
        import subprocess
        path = Path(sys.argv[1])
        store = ChdbStore(path)
        rival = subprocess.run([sys.executable, "-c", '''
        import sys
        from pathlib import Path
        from rushes.store.chdb_store import ChdbStore
        from rushes.store.interface import StoreUnavailable
        try:
            ChdbStore(Path(sys.argv[1]))
        except StoreUnavailable as error:
            print("refused" if "another process" in str(error) else error)
        '''.replace("\\n        ", "\\n"), str(path)], capture_output=True, text=True)
        print(rival.stdout.strip())
        store._statement("INSERT INTO rushes_schema SELECT 999, now()")
        store.close()
        try:
            store.rows("SELECT 1")
        except StoreUnavailable as error:
            print(str(error).replace(" ", "-"))
        try:
            ChdbStore(path)
        except StoreError as error:
            print("newer" if "newer version" in str(error) else error)
        """,
        str(tmp_path / "store"),
    )
    assert done.stdout.split() == ["refused", "the-store-is-closed", "newer"]


def test_a_forked_child_is_told_to_spawn(store: ChdbStore) -> None:
    # The guard itself; forking a process that has the engine's threads would hang this test.
    own = store._pid
    store._pid = own + 1
    try:
        with pytest.raises(StoreUnavailable, match="spawn"):
            store.rows("SELECT 1 AS one")
    finally:
        store._pid = own
    assert os.getpid() == own
