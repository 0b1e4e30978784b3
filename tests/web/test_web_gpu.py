"""The GPU strip: what it shows of readings, and what it says where there are none."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from otlp_messages import trace_request
from recording import Recorded
from rushes.ingest import Receiver
from rushes.ingest.http import routes as otlp_routes
from rushes.instrument.gpu import Collector, RecordedSource, WorkerProcess, by_process
from rushes.query import Readers, SpanRow, Traces
from rushes.query.gpu_tracks import gpu_tracks, workers_of
from rushes.query.perfetto import chrome_trace
from rushes.query.promql import PromQL, PromQLError, QueryResult, Series
from rushes.web.api import routes
from rushes.web.gpu import GpuWatch, gpu_view
from telemetry_store import NOW_NS, shared_store, unique
from web.fakes import FakePromQL, Room
from web.gpu_readings import H100, add_gpu
from web.rows import MS, add_video, span

S = 1000 * MS
TRACE = "d" * 32
RECORDING = Path(__file__).parents[1] / "instrument" / "gpu" / "two_h100.json"


def _render(*, clock: str | None = "gpu", worker: str = "w") -> list[SpanRow]:
    """A root of 20 s in which a worker has the job from 5 s to 15 s."""
    clocks = {"rushes.clock": clock} if clock else {}
    spans = [
        span(TRACE, "video_generation_request", 0, 20 * S),
        span(TRACE, "worker_setup", 5 * S, S, "root", worker_id=worker),
        replace(span(TRACE, "dit_inference", 6 * S, 9 * S, "root", **clocks)),
    ]
    return [replace(s, resource={"service.instance.id": worker}) for s in spans]


def _series(metric: str, points: Sequence[tuple[float, float]], **labels: str) -> Series:
    names = {"__name__": metric, "worker_id": "w", "gpu_index": "0", "gpu_type": H100, **labels}
    return Series(names, [t for t, _ in points], [v for _, v in points])


def _told(spans: Sequence[SpanRow], *series: Series) -> dict[str, Any]:
    promql = FakePromQL()
    promql.readings = list(series)
    view = gpu_view(spans, promql, 0)
    assert view is not None
    return view


def test_readings_lie_on_the_traces_axis_and_are_summed_up_over_the_workers_time() -> None:
    used = [(t, 60e9 if 5 <= t <= 15 else 2e9) for t in range(1, 25)]
    (gpu,) = _told(
        _render(),
        _series("gpu_utilization_percent", [(t, 90 if 5 <= t <= 15 else 0) for t in range(1, 25)]),
        _series("gpu_memory_used_bytes", used),
        _series("gpu_memory_utilization_percent", [(t, 100 * v / 80e9) for t, v in used]),
    )["gpus"]
    assert (gpu["name"], gpu["type"], gpu["worker"]) == ("GPU 0", H100, "w")
    assert gpu["busy"] == [5 * S, 15 * S], "the root is no part of the worker's time, whoever wrote it"
    busy, memory = gpu["lanes"]
    assert (busy["name"], busy["unit"], busy["top"], busy["summary"]) == ("Utilisation", "%", 100, 90)
    assert busy["points"][:2] == [[S, 0], [2 * S, 0]]
    assert (memory["top"], memory["summary"], memory["summary_word"]) == (80e9, 60e9, "most")
    assert gpu["marks"] == []
    assert not gpu["throttle_known"]


def test_throttling_lasts_until_a_reading_says_otherwise_and_errors_are_marks() -> None:
    (gpu,) = _told(
        _render(),
        _series(
            "rushes_gpu_throttled", [(t, float(7 <= t < 11)) for t in range(1, 20, 2)], reason="hw_thermal"
        ),
        _series("rushes_gpu_throttled", [(t, 0.0) for t in range(1, 20, 2)], reason="sw_power_cap"),
        _series("rushes_gpu_xid_errors_total", [(t, float(t > 8)) for t in range(1, 20, 2)]),
        _series("rushes_gpu_xid_last", [(t, 79.0) for t in range(9, 20, 2)]),
    )["gpus"]
    assert [(m["kind"], m["name"], m["from"], m["to"]) for m in gpu["marks"]] == [
        ("throttle", "throttled by heat (hardware)", 7 * S, 11 * S),
        ("xid", "XID 79", 9 * S, 9 * S),
    ]
    assert gpu["throttle_known"]


def test_throttling_that_was_last_heard_of_is_not_drawn_on_for_ever() -> None:
    points = [(2.0, 0.0), (4.0, 1.0), (6.0, 1.0), (18.0, 0.0)]
    (gpu,) = _told(_render(), _series("rushes_gpu_throttled", points, reason="sw_thermal"))["gpus"]
    ((begin, end),) = [(m["from"], m["to"]) for m in gpu["marks"]]
    assert (begin, end) == (4 * S, 12 * S), "no reading for 12 s: three intervals of 2 s are believed"


@pytest.mark.parametrize(
    ("clock", "said"),
    [
        ("host", "No GPU: this render ran on the CPU"),
        ("gpu", "GPU metrics were not recorded: no collector"),
        (None, "GPU metrics were not recorded"),
    ],
)
def test_without_readings_the_strip_says_why(clock: str | None, said: str) -> None:
    view = _told(_render(clock=clock))
    assert view["gpus"] == []
    assert view["note"].startswith(said)


def test_a_trace_that_renders_nothing_has_no_strip() -> None:
    assert gpu_view([span(TRACE, "GET /", 0, 5)], FakePromQL(), 0) is None
    assert gpu_view([], FakePromQL(), 0) is None


def test_a_store_that_refuses_is_told_instead_of_a_page_that_fails() -> None:
    class Refusing:
        def instant(self, expr: str, time_s: float) -> QueryResult:
            raise PromQLError("execution", "too many samples")

        def range(self, expr: str, start_s: float, end_s: float, step_s: float) -> QueryResult:
            raise AssertionError(expr)

    view = gpu_view(_render(), Refusing(), 0)
    assert view == {"note": "The GPU's readings can't be read: too many samples", "gpus": []}


def test_another_process_taking_over_the_reading_leaves_one_line() -> None:
    early = _series("gpu_utilization_percent", [(6, 1.0), (8, 2.0)], instance="generate-0")
    late = _series("gpu_utilization_percent", [(10, 3.0), (12, 4.0)], instance="encode-0")
    promql = FakePromQL()
    promql.readings = [late, early]
    (track,) = gpu_tracks(_render(), promql)
    assert [value for _, value in track.points] == [1, 2, 3, 4]


def test_a_track_of_very_many_readings_keeps_its_course_and_its_flags() -> None:
    times = [t / 1000 for t in range(0, 20_000, 2)]
    promql = FakePromQL()
    promql.readings = [
        _series("gpu_utilization_percent", [(t, t) for t in times]),
        _series("rushes_gpu_throttled", [(t, float(t == 7.0)) for t in times], reason="hw_thermal"),
    ]
    utilisation, throttled = gpu_tracks(_render(), promql)
    assert len(utilisation.points) == len(throttled.points) == 2000
    assert all(abs(value - at / S) < 0.01 for at, value in utilisation.points)
    assert sum(value for _, value in throttled.points) == 1, "one reading of 10,000 is not averaged away"


def test_a_worker_whose_spans_do_not_say_whose_they_are_has_the_rest_of_the_trace() -> None:
    spans = [replace(s, resource={}) for s in _render()]
    assert workers_of(spans) == {"w": (5 * S, 20 * S)}


def test_an_open_page_asks_again_while_readings_may_come_and_then_no_more(room: Room) -> None:
    row = add_video(room, "a", room.now_ns - 60 * S, steps=10)
    spans = room.traces.get(row.trace_id)
    watch = GpuWatch(room.promql, lambda: room.now_ns)
    origin = min(s.start_ns for s in spans)

    def asked(pause_ns: int) -> int:
        room.now_ns += pause_ns
        before = len(room.promql.asked)
        watch.view(spans, origin)
        return len(room.promql.asked) - before

    room.now_ns = max(s.start_ns + s.duration_ns for s in spans)
    assert [asked(0), asked(S), asked(2 * S)] == [1, 0, 1]
    add_gpu(room, row)
    assert asked(3 * S) == 1
    view = watch.view(spans, origin)
    assert view
    assert [gpu["name"] for gpu in view["gpus"]] == ["GPU 0"]
    assert [asked(100 * S), asked(100 * S)] == [0, 0]


def test_the_page_and_its_stream_bring_the_readings(room: Room, client: TestClient) -> None:
    row = add_video(room, "a", room.now_ns - 60 * S, steps=10)
    add_gpu(room, row, hot=True)
    for path in (f"/videos/{row.request_id}", f"/traces/{row.trace_id}"):
        html = client.get(path).text
        assert "data-gpu-strip" in html
        assert f'"type": "{H100}"' in html
        assert "throttled by heat (hardware)" in html


# Over the real path: NVML's answers, the collector, OTLP, the store


def _post(server: TestClient, path: str, message: Any) -> None:
    body = message.SerializeToString()
    assert (
        server.post(path, content=body, headers={"content-type": "application/x-protobuf"}).status_code == 200
    )


def _dated(message: Any, time_ns: int) -> ExportMetricsServiceRequest:
    """The export as if it had been made then: tests don't live by the wall clock."""
    request = ExportMetricsServiceRequest.FromString(message.SerializeToString())
    for of_resource in request.resource_metrics:
        for scope in of_resource.scope_metrics:
            kept = [m for m in scope.metrics if m.name.startswith(("gpu_", "rushes_gpu_", "nvlink_"))]
            for metric in kept:
                for point in (metric.gauge if metric.HasField("gauge") else metric.sum).data_points:
                    point.time_unix_nano = time_ns
                    if metric.HasField("sum"):
                        point.start_time_unix_nano = NOW_NS
            del scope.metrics[:]
            scope.metrics.extend(kept)
    return request


@pytest.fixture
def worker() -> str:
    return unique("generate")


@pytest.fixture
def sent(recorded: Recorded, worker: str, tmp_path: Path) -> Callable[[], bytes]:
    """Sends six sweeps of a recorded NVML, one a second, and a render during the third and fourth."""

    def send() -> bytes:
        trace_id = uuid.uuid4().bytes
        reader = recorded.telemetry.pull
        assert reader is not None
        # The driver's process ids mean nothing in a container: what the worker may see joins it to its GPU.
        owners = by_process(lambda: [WorkerProcess(worker, frozenset({1}), "1")])
        collector = Collector(tmp_path / "lock", workers=owners, source=lambda: RecordedSource(RECORDING))
        receiver = Receiver(shared_store())
        with TestClient(Starlette(routes=otlp_routes(receiver))) as server:
            for sweep in range(6):
                assert collector.tick()
                data = reader.get_metrics_data()
                assert data is not None
                message = _dated(encode_metrics(data), NOW_NS + sweep * S)
                _post(server, "/v1/metrics", message)
            for name, start, end, attributes in (
                ("worker_setup", 2 * S, 2 * S + 100 * MS, {"worker_id": worker}),
                ("dit_inference", 2 * S + 100 * MS, 4 * S, {"rushes.clock": "gpu"}),
            ):
                request = trace_request(
                    trace_id,
                    name=name,
                    parent_span_id=b"12345678",
                    start_time_unix_nano=NOW_NS + start,
                    end_time_unix_nano=NOW_NS + end,
                    attributes=attributes,
                )
                _post(server, "/v1/traces", request)
        receiver.close()
        collector.stop()
        return trace_id

    return send


def test_a_recorded_gpus_readings_come_from_the_collector_to_the_strip_and_to_perfetto(
    sent: Callable[[], bytes], worker: str
) -> None:
    trace_id = sent()
    store = shared_store()
    spans = Traces(store).get(trace_id.hex())
    origin = min(s.start_ns for s in spans)
    view = gpu_view(spans, PromQL(store), origin)
    assert view
    (gpu,) = view["gpus"]
    assert (gpu["name"], gpu["type"], gpu["worker"]) == ("GPU 1", H100, worker)
    assert [lane["name"] for lane in gpu["lanes"]] == [
        "Utilisation",
        "Memory",
        "Power",
        "Temperature",
        "NVLink",
    ]
    utilisation = gpu["lanes"][0]
    assert [at for at, _ in utilisation["points"]] == [(n - 2) * S for n in range(6)]
    memory = gpu["lanes"][1]
    assert memory["top"] == pytest.approx(85_520_809_984, rel=0.01), "80 GiB, from the share that is used"
    kinds = {(mark["kind"], mark["name"]) for mark in gpu["marks"]}
    assert ("xid", "XID 94") in kinds
    assert ("throttle", "throttled by heat (hardware)") in kinds

    events = chrome_trace(spans, gpu_tracks(spans, PromQL(store)))["traceEvents"]
    counters = [e for e in events if e["ph"] == "C" and e["name"] == "gpu_utilization_percent"]
    assert [e["ts"] for e in counters] == [0, 1_000_000, 2_000_000], "from the trace's start to its end"
    assert {e["args"]["value"] for e in counters} <= {value for _, value in utilisation["points"]}
    assert "rushes_gpu_throttled hw_thermal" in {e["name"] for e in events if e["ph"] == "C"}


def test_the_export_of_a_stored_trace_has_its_gpus(sent: Callable[[], bytes]) -> None:
    trace_id = sent().hex()
    with TestClient(Starlette(routes=routes(Readers.over(shared_store())))) as client:
        body = client.get(f"/api/traces/{trace_id}/perfetto").json()
    names = {e["args"]["name"] for e in body["traceEvents"] if e["name"] == "process_name"}
    assert f"GPU 1 {H100}" in names
    assert all({"ph", "name", "pid"} <= e.keys() for e in body["traceEvents"])
    assert all(e["dur"] >= 0 and e["ts"] >= 0 for e in body["traceEvents"] if e["ph"] == "X")
