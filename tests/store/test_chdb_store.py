"""What is the embedded store's own: its folder, its process. The rest is in tests/conformance/store."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from rushes.store.chdb_store import ChdbStore
from rushes.store.interface import StoreUnavailable
from rushes.store.schema import MIGRATIONS
from telemetry_store import NOW_S


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


def test_a_folder_of_the_first_version_opens_and_keeps_its_rows(tmp_path: Path) -> None:
    done = _python(
        """
        from rushes.store import schema
        path, every = Path(sys.argv[1]), schema.MIGRATIONS
        schema.MIGRATIONS = every[:1]
        store = ChdbStore(path, retention_s=20 * 365 * 86400)
        store.insert("samples", rows("old", [1.0, 2.0, 3.0]))
        print(store.rows("SELECT max(version) AS v FROM rushes_schema")[0]["v"])
        print(store.rows("SELECT count() AS n FROM system.tables WHERE name = 'histograms'")[0]["n"])
        store.close()
        schema.MIGRATIONS = every
        store = ChdbStore(path, retention_s=20 * 365 * 86400)
        print(store.rows("SELECT max(version) AS v FROM rushes_schema")[0]["v"])
        print(store.rows("SELECT count() AS n FROM samples WHERE metric = 'old'")[0]["n"])
        print(store.rows("SELECT count() AS n FROM histograms")[0]["n"])
        store.close()
        """,
        str(tmp_path / "store"),
    )
    assert done.stdout.split() == ["1", "0", str(len(MIGRATIONS)), "3", "0"]


def test_a_batch_whose_rows_a_kill_has_cost_is_taken_when_it_is_repeated(tmp_path: Path) -> None:
    """The engine notes a batch before its files get their name; this is what a kill between the two leaves."""
    done = _python(
        """
        import shutil
        path = Path(sys.argv[1])
        def opened():
            return ChdbStore(path, retention_s=20 * 365 * 86400)
        def counted(store):
            return [store.rows(f"SELECT count() AS n FROM samples WHERE metric = '{m}'")[0]["n"] for m in "abc"]
        store = opened()
        for metric in "abc":
            store.insert("samples", rows(metric, [1.0]))
            if metric == "b":  # the first two become one part
                store._statement("OPTIMIZE TABLE samples FINAL")
        place = Path(store.rows("SELECT data_paths[1] AS p FROM system.tables WHERE name = 'samples'")[0]["p"])
        (part,) = store.rows("SELECT max(name) AS name FROM system.parts WHERE table = 'samples' AND active")
        store.close()
        shutil.rmtree(place / part["name"])
        store = opened()
        print(counted(store))
        for metric in "abc":
            store.insert("samples", rows(metric, [1.0]))
        print(counted(store))
        store.close()
        """,
        str(tmp_path / "store"),
    )
    assert done.stdout.splitlines() == ["[1, 1, 0]", "[1, 1, 1]"]
