"""Expressions that nobody wrote: grown at random, the same ones each time, against Prometheus."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from promql_agreement import Both

_METRICS = st.sampled_from(
    ("c_depth", "c_requests_total", "c_limit", "c_latency_sum", "c_failures_total", "c_time", "nothing_here")
)
_MATCHERS = st.sampled_from(
    (
        "",
        '{tier="free"}',
        '{tier!="free"}',
        '{tier=~"f.+|p.+"}',
        '{model!~"A|B"}',
        '{status=""}',
        '{tier=~"free|standard",model="A"}',
        '{zone!=""}',
    )
)
_OFFSETS = st.sampled_from(
    ("", "", "", " offset 7m", " offset -3m", " @ 1767228007", " @ end()", " @ start() offset 1m")
)
# A window's edges never meet a step of a subquery: Prometheus 2 and 3 see different samples there.
_WINDOWS = st.sampled_from(("[1m]", "[5m]", "[90s]", "[17m]"))
_SUBWINDOWS = st.sampled_from(("[7m10s:1m]", "[11m10s:30s]", "[20m10s:3m]"))
_OVER_TIME = (
    *("delta", "irate", "idelta", "deriv", "changes", "resets"),
    *(
        f"{name}_over_time"
        for name in ("avg", "min", "max", "sum", "count", "last", "present", "stddev", "stdvar")
    ),
)
_RANGE = st.sampled_from((*_OVER_TIME, "rate", "increase"))
# Near zero Prometheus 2 and 3 extrapolate rates differently, and what is no counter may be there.
_SUBRANGE = st.sampled_from(_OVER_TIME)
_SIMPLE = st.sampled_from(("abs", "ceil", "floor", "sqrt", "sgn", "exp", "ln", "round", "-"))
_AGGREGATE = st.sampled_from(("sum", "avg", "min", "max", "count", "group"))
# Of a first value that is no finite number Prometheus 2 says that nothing deviates from it: finite ones only.
_DEVIATION = st.sampled_from(("stddev", "stdvar"))
_GROUPING = st.sampled_from(
    ("", " by (tier)", " by (tier, model)", " without (model)", " by ()", " without (tier, status)")
)
_ARITHMETIC = ("+", "-", "*", "/", "%", "^", "> bool", "== bool")
_OPERATORS = st.sampled_from((*_ARITHMETIC, "==", "!=", ">", "<", ">=", "<="))
# Prometheus 3 finds fault with too many matches before it filters, Prometheus 2 after.
_JOINS = st.sampled_from(_ARITHMETIC)
_SETS = st.sampled_from(("and", "or", "unless"))
_MATCHING = st.sampled_from(
    ("on(tier)", "ignoring(model)", "on(tier, model)", "on(tier) group_left", "on(tier) group_right")
)
_NUMBERS = st.sampled_from(("0", "1", "2.5", "-3", "1e3", "0.5"))


def _selector() -> st.SearchStrategy[str]:
    return st.builds("".join, st.tuples(_METRICS, _MATCHERS))


def _leaf() -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("{}{}".format, _selector(), _OFFSETS),
        st.builds("{}{}({})".format, _DEVIATION, _GROUPING, _selector()),
        # Of equal values neither promises which are the first.
        st.builds("{}{}(2, c_depth{})".format, st.sampled_from(("topk", "bottomk")), _GROUPING, _OFFSETS),
        st.builds("{}({})".format, st.sampled_from(("hour", "minute", "day_of_year", "month")), _selector()),
        st.builds("{}({}{}{})".format, _RANGE, _selector(), _WINDOWS, _OFFSETS),
    )


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.builds("{}({})".format, _SIMPLE, inner),
        st.builds("{}{}({})".format, _AGGREGATE, _GROUPING, inner),
        st.builds("quantile{}(0.4, {})".format, _GROUPING, inner),
        st.builds("({} {} {})".format, inner, _OPERATORS, _NUMBERS),
        st.builds("({} {} {})".format, _NUMBERS, _OPERATORS, inner),
        st.builds("({} {} {})".format, inner, _OPERATORS, inner),
        st.builds("({} {} {} {})".format, inner, _JOINS, _MATCHING, inner),
        st.builds("({} {} {})".format, inner, _SETS, inner),
        st.builds("({} {} on(tier) {})".format, inner, _SETS, inner),
        st.builds("{}(({}){})".format, _SUBRANGE, inner, _SUBWINDOWS),
        st.builds('label_replace({}, "x", "$1", "tier", "(.).*")'.format, inner),
        st.builds("clamp({}, -5, 40)".format, inner),
        st.builds("absent({})".format, inner),
        st.builds("vector(scalar({}))".format, inner),
        st.builds("timestamp({})".format, inner),
    )


_EXPRESSIONS = st.recursive(_leaf(), _grown, max_leaves=4)
_COUNT = 250


@settings(
    max_examples=_COUNT,
    derandomize=True,
    database=None,
    deadline=None,
    phases=(Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)
@given(_EXPRESSIONS, st.booleans())
def test_agrees(both: Both, expr: str, over_steps: bool) -> None:  # noqa: FBT001  hypothesis hands it over
    assert (both.range(expr, 307, 4507, 300) if over_steps else both.instant(expr)) == "", expr
