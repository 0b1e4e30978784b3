"""Throws text at everything that reads what a query says, guided by coverage. Not part of the test suite.

`pip install atheris`, then `python tests/fuzz/promql.py -max_total_time=300 -rss_limit_mb=2048 CORPUS_FOLDER`. The
first byte says who gets the rest. Whatever isn't refused in the words that a query's author gets is a finding.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["rushes.query", "rushes.web.api.numbers"]):
    from rushes.query.expressions import checked_selectors, formatted
    from rushes.query.promql import PromQLError
    from rushes.query.promql.diagnosis import diagnose
    from rushes.query.promql.matching import condition
    from rushes.query.promql.parsing import parsed
    from rushes.query.promql.tokens import without_raw_strings
    from rushes.query.promql.tree import checked_tokens, selectors
    from rushes.web.api.numbers import duration, go_duration, moment

REFUSED = (PromQLError, ValueError)


def _conditions(text: str) -> None:
    for of in selectors(parsed(text)):
        condition(of)


def _diagnosed(text: str) -> None:
    checked_tokens(text)
    diagnose(text)


def _evenly(text: str) -> None:
    """What is written out evenly must mean the same, and so be written out the same again."""
    once = formatted(text)
    with contextlib.suppress(PromQLError):  # the even form may be longer than a query may be
        checked_tokens(once)
        again = formatted(once)
        assert again == once, (text, once, again)


TARGETS: tuple[Callable[[str], Any], ...] = (
    lambda text: parsed(text, experimental=True),
    _conditions,
    _diagnosed,
    _evenly,
    lambda text: checked_selectors([text]),
    lambda text: parsed(without_raw_strings(text)),
    moment,
    duration,
    go_duration,
)
SEEDS = (
    'sum by (a) (rate(x{b=~"c.*", d!="e"}[5m] offset -1h)) / on (a) group_left (b) y @ end() > bool 2',
    '{"quoted name", "label"="value"}[5m:30s]',
    "histogram_quantile(0.9, sum by (le) (rate(b[1m]))) or vector(-1e3) unless `raw\\n` == 0x1F",
    'label_replace(up, "a", "$1-${b}", "c", "(.*)(?P<b>x)") and absent(nope)',
    'topk(3, a{b="c"}) ^ 2 ^ -1 atan2 NaN # a comment',
    "quantile_over_time(0.5, a[1h:]) @ 1.5 offset 5m",
    "2026-01-01T00:00:00.5+01:00",
    "1h30m",
    "1.5s",
)


def one_input(data: bytes) -> None:
    """Give the text to what the first byte names."""
    with contextlib.suppress(*REFUSED):
        TARGETS[(data[0] if data else 0) % len(TARGETS)](data[1:].decode(errors="replace"))


def _seeds(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(len(TARGETS)):
        for of, text in enumerate(SEEDS):
            (folder / f"seed-{number}-{of}").write_bytes(bytes([number]) + text.encode())


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        if not argument.startswith("-"):
            _seeds(Path(argument))
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
