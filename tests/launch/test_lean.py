"""What is kept out of the control room's process."""

from __future__ import annotations

import os
import subprocess
import sys


def test_pandas_is_not_imported_for_nothing() -> None:
    code = (
        "import sys; from rushes.launch.lean import without; without('pandas'); "
        "import pyarrow as pa; pa.array([1]); import rushes.launch.control_room; print('pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"


def test_arrow_and_threads_share_arenas_unless_the_environment_says_otherwise() -> None:
    code = (
        "from rushes.launch.lean import allocate_sparingly; allocate_sparingly(); "
        "import pyarrow as pa; print(pa.default_memory_pool().backend_name)"
    )
    for environment, expected in (({}, "system"), ({"ARROW_DEFAULT_MEMORY_POOL": "mimalloc"}, "mimalloc")):
        done = subprocess.run(
            [sys.executable, "-c", code],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, **environment},
        )
        assert done.stdout.strip() == expected
