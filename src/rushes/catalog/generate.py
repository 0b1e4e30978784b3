"""Writes the files that come from the catalog, or with --check says which of them have drifted."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from rushes.catalog.reference import log_events_page, metrics_page, spans_page
from rushes.catalog.stubs import instruments_stub

__all__ = ["generated", "main"]


def generated() -> Mapping[str, str]:
    """The generated files: path from the repository's root, and text."""
    return {
        "docs/reference/metrics.md": metrics_page(),
        "docs/reference/spans.md": spans_page(),
        "docs/reference/logs.md": log_events_page(),
        "src/rushes/sdk/instruments.pyi": _formatted(instruments_stub()),
    }


def _formatted(code: str) -> str:
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", "instruments.pyi", "-"]
    return subprocess.run(command, input=code, capture_output=True, text=True, check=True).stdout


def main(arguments: list[str]) -> int:
    """`python -m rushes.catalog.generate [--check]`, from the repository's root."""
    drifted = []
    for name, text in generated().items():
        path = Path(name)
        if path.exists() and path.read_text() == text:
            continue
        drifted.append(name)
        if "--check" not in arguments:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    if "--check" in arguments and drifted:
        sys.stderr.write(f"out of date: {', '.join(drifted)}; run `make generate`\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
