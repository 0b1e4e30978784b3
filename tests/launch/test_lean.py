"""What is kept out of the control room's process."""

from __future__ import annotations

import subprocess
import sys


def test_pandas_is_not_imported_for_nothing() -> None:
    code = (
        "import sys; from rushes.launch.lean import without; without('pandas'); "
        "import pyarrow as pa; pa.array([1]); import rushes.launch.control_room; print('pandas' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"
