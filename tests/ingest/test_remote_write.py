"""Prometheus' remote write, both versions: what is sent is there, what can't be taken is said, nothing falls over."""

from __future__ import annotations

import asyncio
import struct

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette

from remote_write_messages import (
    Symbols,
    field,
    histogram,
    number,
    packed,
    real,
    series1,
    series2,
    snapped,
    zigzag,
)
from rushes.ingest import Limits, Receiver
from rushes.ingest.remote_write_http import remote_write_routes
from rushes.query.promql import PromQL
from rushes.query.series import SeriesIndex
from telemetry_store import NOW_NS, NOW_S, shared_store, unique

MS = NOW_S * 1000
V1 = "application/x-protobuf"
V2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
STALE = struct.pack("<Q", 0x7FF0000000000002)


def ask(
    body: bytes,
    kind: str = V1,
    *,
    receiver: Receiver | None = None,
    raw: bool = False,
    encoding: str = "snappy",
) -> httpx.Response:
    of = receiver or Receiver(shared_store(), clock_ns=lambda: NOW_NS)

    async def call() -> httpx.Response:
        transport = httpx.ASGITransport(Starlette(routes=remote_write_routes(of)))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.post(
                "/api/v1/write",
                content=body if raw else snapped(body),
                headers={"content-type": kind, "content-encoding": encoding},
            )

    reply = asyncio.run(call())
    if receiver is None:
        of.close()
    return reply


def written(reply: httpx.Response) -> tuple[int, int, int]:
    names = ("Samples", "Histograms", "Exemplars")
    return tuple(int(reply.headers[f"X-Prometheus-Remote-Write-{name}-Written"]) for name in names)  # type: ignore[return-value]


def values(query: str, at_s: float = NOW_S + 1) -> list[tuple[dict[str, str], float]]:
    return [(one.labels, one.values[0]) for one in PromQL(shared_store()).instant(query, at_s).series]


def histograms(metric: str) -> list[dict[str, object]]:
    return shared_store().rows(
        "SELECT count, sum, schema, gauge, zero_threshold, zero_count, positive_indices, positive_counts, "
        "negative_indices, negative_counts, custom_bounds, reinterpretAsUInt64(sum) AS bits "
        "FROM histograms WHERE metric = {m:String} ORDER BY ts",
        {"m": metric},
    )


def test_samples_of_the_first_version_out_of_order_and_twice() -> None:
    name = unique("rw")
    labels = {"__name__": name, "job": "j", "a": "ü", "empty": ""}
    body = series1(labels, [(3.0, MS), (1.0, MS - 2000), (2.0, MS - 1000), (2.0, MS - 1000)])
    for _ in range(2):
        reply = ask(body)
        assert (reply.status_code, written(reply)) == (204, (4, 0, 0))
    assert values(name) == [({"__name__": name, "job": "j", "a": "ü"}, 3.0)]
    assert values(f"count_over_time({name}[5s])")[0][1] == 3
    late = ask(series1(labels, [(9.0, MS - 5000)]))
    assert late.status_code == 204
    assert values(name, NOW_S - 4)[0][1] == 9.0


def test_a_stale_marker_ends_a_series_and_another_not_a_number_does_not() -> None:
    name = unique("rw")
    ask(series1({"__name__": name}, [(1.0, MS - 1000), (STALE, MS)]))
    assert values(name) == []
    ask(series1({"__name__": name}, [(float("nan"), MS + 500)]))
    assert str(values(name)[0][1]) == "nan"


def test_metadata_and_exemplars_of_the_first_version() -> None:
    name = unique("rw")
    exemplar = field(1, field(1, "trace_id") + field(2, "abc")) + field(1, field(1, "x") + field(2, "y"))
    more = field(3, exemplar + real(2, 0.5) + number(3, MS))
    metadata = field(3, number(1, 1) + field(2, name) + field(4, "what it is") + field(5, "s"))
    reply = ask(metadata + series1({"__name__": name}, [(1.0, MS)], more))
    assert (reply.status_code, written(reply)) == (204, (1, 0, 1))
    about = SeriesIndex(shared_store()).metadata(name)[name]
    assert (about.type, about.help, about.unit) == ("counter", "what it is", "s")
    (series,) = SeriesIndex(shared_store()).exemplars(name, NOW_S - 1, NOW_S + 1)
    assert series.exemplars[0].value == 0.5
    assert {k: v for k, v in series.exemplars[0].labels.items() if v} == {"trace_id": "abc", "x": "y"}


EXPECTED = {
    "count": 10.0,
    "sum": 18.5,
    "schema": 1,
    "gauge": 0,
    "zero_threshold": 0.001,
    "zero_count": 2.0,
    "positive_indices": [-1, 0, 5],
    "positive_counts": [1.0, 3.0, 2.0],
    "negative_indices": [2],
    "negative_counts": [2.0],
    "custom_bounds": [],
}


def test_native_histograms_of_both_versions() -> None:
    name = unique("rw")
    reply = ask(series1({"__name__": name}, more=field(4, histogram(MS))))
    assert (reply.status_code, written(reply)) == (204, (0, 1, 0))
    symbols = Symbols()
    second = series2(
        symbols,
        {"__name__": name},
        more=field(3, histogram(MS + 1, hint=number(14, 3)))
        + field(3, histogram(MS + 2, sum=real(3, STALE))),
    )
    assert written(ask(symbols.request(second), V2)) == (0, 2, 0)
    first, gauge, ended = histograms(name)
    assert {key: first[key] for key in EXPECTED} == EXPECTED
    assert {key: gauge[key] for key in EXPECTED} == EXPECTED | {"gauge": 1}
    assert ended["bits"] == 0x7FF0000000000002


def test_float_counts_and_custom_bounds() -> None:
    name = unique("rw")
    floats = struct.pack("<3d", 1.5, 0.0, 2.5)
    custom = histogram(
        MS,
        count=real(2, 4.0),
        schema=number(4, zigzag(-53)),
        zero_threshold=b"",
        zero_count=b"",
        negative=b"",
        positive=field(11, number(2, 3)) + field(13, floats),
        bounds=field(16, struct.pack("<2d", 0.5, 10)),
    )
    assert ask(series1({"__name__": name}, more=field(4, custom))).status_code == 204
    (found,) = histograms(name)
    assert (found["schema"], found["custom_bounds"]) == (-53, [0.5, 10.0])
    assert (found["positive_indices"], found["positive_counts"]) == ([0, 2], [1.5, 2.5])


@pytest.mark.parametrize(
    "change",
    [
        {"count": number(1, 9)},
        {"schema": number(4, zigzag(9))},
        {"negative": field(8, number(2, 2**32 - 1)) + packed(9, [zigzag(2)])},
        {"negative": packed(9, [zigzag(-2)]) + field(8, number(2, 1)), "count": number(1, 6)},
        {
            "positive": field(11, number(2, 1))
            + field(11, number(1, zigzag(-5)) + number(2, 1))
            + packed(12, [0, 0])
        },
        {"bounds": field(16, struct.pack("<2d", 0.5, 10))},
        {"count": real(2, float("nan"))},
    ],
)
def test_a_histogram_that_contradicts_itself_is_refused_and_the_rest_kept(change: dict[str, bytes]) -> None:
    name = unique("rw")
    more = field(4, histogram(MS, **change)) + field(4, histogram(MS + 1))
    reply = ask(series1({"__name__": name}, [(1.0, MS)], more))
    assert (reply.status_code, written(reply)) == (400, (1, 1, 0))
    assert "1 samples refused: histogram has" in reply.text
    assert len(histograms(name)) == 1


def test_samples_metadata_and_beginnings_of_the_second_version() -> None:
    name = unique("rw")
    symbols = Symbols()
    metadata = field(5, number(1, 3) + number(3, symbols("took")) + number(4, symbols("s")))
    exemplar = field(4, packed(1, [symbols("trace_id"), symbols("abc")]) + real(2, 0.5) + number(3, MS))
    started = field(2, real(1, 4.0) + number(2, MS) + number(3, MS - 30_000))
    body = symbols.request(
        series2(symbols, {"__name__": f"{name}_count", "job": "j"}, [], started + metadata + exemplar),
        series2(symbols, {"__name__": f"{name}_old"}, [(1.0, MS)], number(6, MS - 10_000)),
    )
    reply = ask(body, V2)
    assert reply.status_code == 204, reply.text
    assert written(reply)[2] == 1
    assert values(f"{name}_count") == [({"__name__": f"{name}_count", "job": "j"}, 4.0)]
    assert values(f"increase({name}_count[1m])")[0][1] >= 4
    assert values(f"count_over_time({name}_old[1m])")[0][1] == 2
    about = SeriesIndex(shared_store()).metadata(name)[name]
    assert (about.type, about.help, about.unit) == ("histogram", "took", "s")


def test_what_can_never_be_taken_is_400_with_the_rest_written() -> None:
    name = unique("rw")
    receiver = Receiver(
        shared_store(),
        clock_ns=lambda: NOW_NS,
        limits=Limits(series_per_metric=2, labels=3, value_length=200),
    )
    body = b"".join(
        (
            series1({"__name__": name, "n": "1"}, [(1.0, MS), (1.0, MS + 601_000), (1.0, -5)]),
            series1({"job": "nameless"}, [(1.0, MS)]),
            series1([("__name__", name), ("a", "1"), ("a", "2")], [(1.0, MS)]),
            series1({"__name__": name, "a": "1", "b": "1", "c": "1", "d": "1"}, [(1.0, MS)]),
            series1({"__name__": name, "n": "2"}, [(1.0, MS)]),
            series1({"__name__": name, "n": "3"}, [(1.0, MS), (2.0, MS)]),
        )
    )
    reply = ask(body, receiver=receiver)
    assert (reply.status_code, written(reply)) == (400, (2, 0, 0))
    assert receiver.stats.refused == {
        "in_the_future": 1,
        "too_old": 1,
        "bad_name": 1,
        "bad_labels": 1,
        "too_many_labels": 1,
        "too_many_series": 2,
    }
    assert len(values(name)) == 2
    receiver.close()


def test_every_sample_of_a_refused_series_is_counted_under_its_own_reason() -> None:
    receiver = Receiver(
        shared_store(), clock_ns=lambda: NOW_NS, limits=Limits(series_per_metric=1, labels=2, value_length=50)
    )
    name = unique("counted")
    body = b"".join(
        (
            series1({"__name__": name}, [(1, MS)]),
            series1({"__name__": name, "a": "1", "b": "2", "c": "3"}, [(1, MS), (2, MS + 1)]),
            series1({"__name__": name, "a": "1"}, [(1, MS), (2, MS + 1), (3, MS + 2)]),
            series1({"a": "1"}, [(1, MS), (2, MS + 1), (3, MS + 2), (4, MS + 3)]),
            series1({"__name__": name, "x" * 60: "1"}, [(1, MS)] * 5),
            series1([("__name__", name), ("a", "1"), ("a", "2")], [(1, MS)] * 6),
        )
    )
    reply = ask(body, receiver=receiver)
    assert (reply.status_code, written(reply)) == (400, (1, 0, 0))
    assert receiver.stats.refused == {
        "too_many_labels": 2,
        "too_many_series": 3,
        "bad_name": 4,
        "bad_labels": 11,
    }
    assert f"3 samples refused: {name} has more than 1 series" in reply.text
    receiver.close()


def test_references_beyond_the_symbols_are_refused() -> None:
    name = unique("rw")
    symbols = Symbols()
    fine = series2(symbols, {"__name__": name}, [(1.0, MS)])
    sample = field(2, real(1, 1.0) + number(2, MS))
    reply = ask(
        symbols.request(fine, field(5, packed(1, [1, 99]) + sample), field(5, packed(1, [1]) + sample)), V2
    )
    assert (reply.status_code, written(reply)) == (400, (1, 0, 0))
    assert values(name)[0][1] == 1


@pytest.mark.parametrize(
    ("kind", "encoding", "status"),
    [
        ("application/json", "snappy", 415),
        ("application/x-protobuf;proto=io.prometheus.write.v3.Request", "snappy", 415),
        (V1, "gzip", 415),
        ("application/x-protobuf; proto=prometheus.WriteRequest", "snappy", 204),
        (V1, "", 204),
    ],
)
def test_content_is_negotiated(kind: str, encoding: str, status: int) -> None:
    assert (
        ask(series1({"__name__": unique("rw")}, [(1.0, MS)]), kind, encoding=encoding).status_code == status
    )


def test_the_wrong_version_is_no_success_with_samples() -> None:
    assert written(ask(series1({"__name__": unique("rw")}, [(1.0, MS)]), V2)) == (0, 0, 0)


def test_bombs_and_noise_are_refused_whole() -> None:
    receiver = Receiver(shared_store(), clock_ns=lambda: NOW_NS, limits=Limits(body_bytes=100_000))
    assert ask(snapped(bytes(10_000_000)), receiver=receiver, raw=True).status_code == 413
    claims = b"\xff\xff\xff\xff\x0f" + b"\x00" * 10  # 4 GiB, says the first number
    assert ask(claims, receiver=receiver, raw=True).status_code == 413
    assert ask(bytes(200_000), receiver=receiver, raw=True).status_code == 413
    assert ask(b"not snappy", receiver=receiver, raw=True).status_code == 400
    assert ask(b"\xff\xff", receiver=receiver).status_code == 400
    assert receiver.stats.failed == {"too_large": 3, "undecodable": 2}
    receiver.close()


def test_too_much_at_once_is_503_so_that_prometheus_comes_back() -> None:
    for limits in (Limits(pending=0), Limits(held_bytes=10)):
        receiver = Receiver(shared_store(), clock_ns=lambda: NOW_NS, limits=limits)
        reply = ask(series1({"__name__": unique("rw")}, [(1.0, MS)]), receiver=receiver)
        assert reply.status_code == 503
        assert int(reply.headers["retry-after"]) > 0
        assert receiver.stats.failed == {"overloaded": 1}
        assert receiver.admission.bytes == 0
        receiver.close()


def _mutated(at: int, noise: bytes, *, second: bool) -> bytes:
    symbols = Symbols()
    labels = {"__name__": "noise", "a": "b"}
    more = field(4, field(1, field(1, "x") + field(2, "y")) + real(2, 1.0) + number(3, MS))
    of = field(4, histogram(MS)) if not second else field(3, histogram(MS)) + more
    body = (
        symbols.request(series2(symbols, labels, [(1.0, MS)], of))
        if second
        else series1(labels, [(1.0, MS)], of)
    )
    at %= len(body)
    return body[:at] + noise + body[at + len(noise) :]


@settings(max_examples=300)
@given(
    body=st.one_of(
        st.binary(max_size=200),
        st.builds(_mutated, st.integers(0, 400), st.binary(min_size=1, max_size=6), second=st.booleans()),
    ),
    kind=st.sampled_from([V1, V2]),
    packed_=st.booleans(),
)
def test_no_body_is_ever_an_internal_error(body: bytes, kind: str, packed_: bool) -> None:  # noqa: FBT001
    assert ask(body, kind, raw=not packed_).status_code in (204, 400, 413)
