"""Whatever a query's text is, it is either evaluated or refused in a query's author's words: never a fault of ours."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rushes.query.expressions import formatted
from rushes.query.promql import PromQL, PromQLError
from rushes.query.promql.matching import condition
from rushes.query.promql.parsing import selector
from telemetry_store import NOW_S, shared_store

_WORDS = st.sampled_from(
    (
        *(
            "up",
            "sum",
            "rate",
            "topk",
            "absent",
            "label_replace",
            "histogram_quantile",
            "time",
            "vector",
            "start",
        ),
        *("by", "on", "ignoring", "group_left", "bool", "offset", "and", "or", "unless", "atan2", "fill"),
        *("(", ")", "[", "]", "{", "}", ",", ":", "@", "+", "-", "*", "/", "^", "==", "=~", "!~", "=", "<"),
        *(
            "0",
            "1",
            "-1",
            "5m",
            "0s",
            "300y",
            "1e30",
            "1e400",
            "0x10",
            "1_0",
            "Inf",
            "NaN",
            "99999999999999999999h",
        ),
        *(
            '"a"',
            "'('",
            "`\\Q`",
            '"a**"',
            '"\\x"',
            '"',
            "#",
            "\n",
            "\ufffd",
            "é",
            "\x00",
            ".",
            "$1",
            "__name__",
        ),
        *("x[5m]", "x[5m:1m]", 'x{a=~"b.*"}', "x offset 1m", "x @ end()", "1s", "rate(x[5m])"),
    )
)
_TEXTS = st.one_of(
    st.lists(_WORDS, max_size=12).map(" ".join), st.lists(_WORDS, max_size=8).map("".join), st.text()
)
thrown = settings(
    max_examples=600, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)


@thrown
@given(_TEXTS)
@example("x[1e30]")
@example("x offset -1e400")
def test_no_text_is_ever_an_internal_error(text: str) -> None:
    with contextlib.suppress(PromQLError):
        formatted(text)
    with contextlib.suppress(PromQLError):
        condition(selector(text))
    with contextlib.suppress(PromQLError):
        PromQL(shared_store()).instant(text, NOW_S)


@pytest.mark.parametrize("pattern", ["a**", "(?x)a", "v{1001}", "[[:foo:]]", r"\\u0076"])
def test_a_pattern_that_the_store_would_refuse_is_refused_before(pattern: str) -> None:
    with pytest.raises(PromQLError, match=r"^1:3: parse error: error parsing regexp: ") as caught:
        PromQL(shared_store()).instant(f'x{{a=~"{pattern}"}}', NOW_S)
    assert "Exception" not in caught.value.message
