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
