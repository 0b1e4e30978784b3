"""Matchers' regular expressions: how they are evaluated, and what is wrong with one in the words of Go's parser.

The store evaluates them with RE2, which Go's package has its syntax and its faults from. The query parser's own library
takes some that neither of the two does (`a**`), so that RE2 itself, which Arrow brings along, is asked first.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import promql_parser as parser
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["anchored", "is_pattern", "pattern_fault"]

_ANY: Final = pa.array([""])  # of no values at all Arrow doesn't read the pattern
_ARROW_SAYS: Final = "Invalid regular expression: "
# Faults that RE2 and Go have different words for.
_WORDS: Final = (
    ("missing ): ", "missing closing ): "),
    ("missing ]: ", "missing closing ]: "),
    ("trailing \\: ", "trailing backslash at end of expression: "),
    ("no argument for repetition operator: ", "missing argument to repetition operator: "),
    ("bad repetition operator: ", "invalid nested repetition operator: "),
    ("invalid repetition size: ", "invalid repeat count: "),
    ("invalid perl operator: ", "invalid or unsupported Perl syntax: "),
    ("invalid named capture group: ", "invalid named capture: "),
)


def is_pattern(matcher: parser.Matcher) -> bool:
    """Whether its value is a regular expression."""
    return matcher.op in (parser.MatchOp.Re, parser.MatchOp.NotRe)


def anchored(pattern: str) -> str:
    """A matcher's pattern as it is evaluated: for the whole value, line ends included."""
    return f"^(?s:{pattern})$"


@lru_cache(maxsize=1024)
def pattern_fault(pattern: str) -> str:
    """What is wrong with a matcher's pattern; empty if nothing is."""
    try:
        pc.match_substring_regex(_ANY, pattern=anchored(pattern))
    except pa.ArrowInvalid as error:
        return f"error parsing regexp: {_as_go_says(str(error).removeprefix(_ARROW_SAYS))}"
    return ""


def _as_go_says(fault: str) -> str:
    for ours, theirs in _WORDS:
        if fault.startswith(ours):
            return f"{theirs}`{fault[len(ours) :]}`"
    what, colon, about = fault.partition(": ")
    return f"{what}: `{about}`" if colon else fault
