"""Debian's Prometheus scrapes a target and writes it on to us: what both have afterwards is the same.

Prometheus 2.42 speaks version 1.0 of the protocol. Without Prometheus the test is skipped, and says so.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from otlp_server import Heard, serving
from rushes.ingest import Receiver
from rushes.query.promql import PromQL
from rushes.query.series import SeriesIndex
from telemetry_store import shared_store, unique

PROMETHEUS = shutil.which("prometheus")
NAME = unique("written")
EXPOSED = f"""\
# HELP {NAME}_jobs Jobs that were accepted
# TYPE {NAME}_jobs counter
{NAME}_jobs_total{{tier="free",note="a \\"b\\" \\\\ \\n ü"}} 12 # {{trace_id="0af7651916cd43dd8448eb211c80319c"}} 1
# TYPE {NAME}_seconds histogram
{NAME}_seconds_bucket{{le="0.5"}} 1
{NAME}_seconds_bucket{{le="+Inf"}} 3
{NAME}_seconds_sum 4.25
{NAME}_seconds_count 3
# TYPE {NAME}_depth gauge
{NAME}_depth NaN
# EOF
"""


class Target(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8")
        self.end_headers()
        self.wfile.write(EXPOSED.encode())

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture(scope="module")
def target() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Target)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


@contextmanager
def prometheus(folder: Path, target: int, write_to: str) -> Iterator[str]:
    (folder / "prometheus.yml").write_text(
        json.dumps(
            {
                "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
                "scrape_configs": [
                    {"job_name": NAME, "static_configs": [{"targets": [f"127.0.0.1:{target}"]}]}
                ],
                "remote_write": [
                    {
                        "url": f"{write_to}/api/v1/write",
                        "send_exemplars": True,
                        "queue_config": {"batch_send_deadline": "100ms"},
                        "metadata_config": {"send_interval": "1s"},
                    }
                ],
            }
        )
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                str(PROMETHEUS),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--enable-feature=exemplar-storage",
            ],
            stdout=log,
            stderr=log,
        )
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(timeout=30)


def until(true: Callable[[], Any]) -> Any:
    """What the condition gives once it gives something; fails after half a minute."""
    for _ in range(300):
        found = true()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError("it did not come to be within 30 s")


def of_prometheus(url: str, query: str, at_s: float) -> dict[str, str]:
    found = httpx.get(f"{url}/api/v1/query", params={"query": query, "time": at_s}).json()["data"]["result"]
    return {json.dumps(one["metric"], sort_keys=True): str(float(one["value"][1])) for one in found}


def of_ours(query: str, at_s: float) -> dict[str, str]:
    found = PromQL(shared_store()).instant(query, at_s).series
    return {json.dumps(one.labels, sort_keys=True): str(one.values[0]) for one in found}


@pytest.mark.skipif(PROMETHEUS is None, reason="prometheus is not installed")
def test_what_prometheus_writes_is_what_it_has(tmp_path: Path, target: int) -> None:
    heard = Heard()
    with serving(Receiver(shared_store()), heard) as ours, prometheus(tmp_path, target, ours.url) as url:

        def scraped_three_times() -> list[dict[str, Any]]:
            rows = shared_store().rows(
                "SELECT toUnixTimestamp64Milli(ts) AS ms FROM samples WHERE metric = 'up' AND series_id IN "
                "(SELECT series_id FROM series WHERE metric = 'up' AND labels['job'] = {job:String}) ORDER BY ts",
                {"job": NAME},
            )
            return rows if len(rows) >= 3 else []

        rows = until(scraped_three_times)
        at_s = rows[1]["ms"] / 1000
        for query in (
            f'{{job="{NAME}",__name__!~"scrape_.*|up"}}',
            f'up{{job="{NAME}"}}',
            f'{{__name__=~"scrape_samples_scraped|scrape_duration_seconds",job="{NAME}"}}',
            f"count_over_time({NAME}_jobs_total[10s])",
        ):
            expected = of_prometheus(url, query, at_s)
            assert expected
            assert of_ours(query, at_s) == expected
        about = until(lambda: SeriesIndex(shared_store()).metadata(f"{NAME}_jobs").get(f"{NAME}_jobs"))
        assert (about.type, about.help) == ("counter", "Jobs that were accepted")
        (series,) = until(
            lambda: SeriesIndex(shared_store()).exemplars(f"{NAME}_jobs_total", at_s - 60, at_s + 60)
        )
        assert series.exemplars[0].labels["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
        assert ours.receiver.stats.refused == {}
        assert ours.receiver.stats.failed == {}
