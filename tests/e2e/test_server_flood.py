"""A client that sends a million values of one label: others go on, the page names the metric, memory stays small."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from server_kills import Outcome, batch, free_port, started, stored

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

_VALUES = 1_000_000
_OF_A_REQUEST = 20_000
_LIMIT = 50_000
_PROTOBUF = {"content-type": "application/x-protobuf"}


def flood() -> Iterator[bytes]:
    """Export requests whose points all have another user: one, with another number in its users' names each time."""
    request, now = ExportMetricsServiceRequest(), time.time_ns()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add(name="logins")
    for user in range(_OF_A_REQUEST):
        value = AnyValue(string_value=f"user-000-{user}")
        metric.gauge.data_points.add(
            as_int=1, time_unix_nano=now, attributes=[KeyValue(key="user", value=value)]
        )
    body = request.SerializeToString()
    for turn in range(_VALUES // _OF_A_REQUEST):
        yield body.replace(b"user-000-", b"user-%03d-" % turn)


def test_a_million_label_values(tmp_path: Path) -> None:
    port, otlp = free_port(), free_port()
    process = started(tmp_path / "data", port, otlp, Outcome())
    acknowledged: dict[str, list[str]] = {name: [] for name in ("traces", "logs", "metrics")}
    refused = 0
    try:
        with (
            httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as ui,
            httpx.Client(base_url=f"http://127.0.0.1:{otlp}", timeout=60, headers=_PROTOBUF) as sender,
        ):
            for turn, body in enumerate(flood()):
                reply = sender.post("/v1/metrics", content=body).raise_for_status()
                partial = ExportMetricsServiceResponse.FromString(reply.content).partial_success
                refused += partial.rejected_data_points
                for name in acknowledged:
                    ids, rows = batch(name, 1, turn)
                    whole = sender.post(f"/v1/{name}", content=rows).raise_for_status()
                    assert whole.content == b"", "whoever is well-behaved is not refused anything"
                    acknowledged[name] += ids
            assert refused == _VALUES - _LIMIT
            assert "logins has more than 50000 series" in partial.error_message
            problems = ui.get("/api/problems").raise_for_status().json()["problems"]
            assert [problem for problem in problems if "logins has more than 50000 series" in problem]
            (counted,) = (
                line
                for line in ui.get("/metrics").text.splitlines()
                if line.startswith("rushes_ingest_refused_total{") and '"too_many_series"' in line
            )
            assert float(counted.split()[-1]) == refused
            asked = {"query": "count(logins)"}
            found = ui.get("/api/v1/query", params=asked).raise_for_status().json()["data"]["result"]
            assert [one["value"][1] for one in found] == [str(_LIMIT)]
            assert ui.get("/readyz").status_code == httpx.codes.OK
            assert psutil.Process(process.pid).memory_info().rss < 1 << 30
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()
    for name, ids in stored(tmp_path / "data").items():
        assert sorted(ids) == sorted(acknowledged[name]), name
