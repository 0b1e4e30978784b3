"""Memory that is given back stays given back, and the engine goes on."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells and takes pages")
def test_pages_of_the_engines_start_are_given_back_and_it_works_on() -> None:
    code = """
    import re
    from chdb import session
    from rushes.store.resident import forget_startup_pages
    def resident():
        kilobytes, counted = 0, False
        for line in open("/proc/self/smaps"):
            if re.match("[0-9a-f]+-", line):
                counted = " r-xp " in line and line.rstrip().endswith("_chdb.abi3.so")
            elif counted and line.startswith("Rss:"):
                kilobytes += int(line.split()[1])
        return kilobytes
    before = resident()
    given = forget_startup_pages()
    after = resident()
    print(session.Session().query("SELECT sum(number) FROM numbers(1000)").bytes().decode().strip())
    print(given > 100_000_000, before > 50_000, after < before / 4)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == ["499500", "True", "True", "True"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells")
def test_what_was_freed_is_given_back_and_the_store_works_on() -> None:
    code = """
    import os, tempfile
    from pathlib import Path
    import pyarrow as pa
    from rushes.store.chdb_store import ChdbStore
    def resident():
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") >> 20
    with tempfile.TemporaryDirectory() as folder:
        store = ChdbStore(Path(folder) / "telemetry")
        small = [bytes(1000) for _ in range(100_000)]
        kept = small[::1000]
        del small
        store.rows("SELECT groupArray(number) AS n FROM numbers(3000000)")
        before = resident()
        store.release_memory()
        print(resident() < before - 20, store.rows("SELECT 1 AS one"))
        store.close()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "True [{'one': 1}]"
