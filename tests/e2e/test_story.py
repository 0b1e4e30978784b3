"""From a prompt to a playable video with its whole story, through the real processes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import openai
import pytest

from platform_process import Platform, eventually
from rushes.catalog import EVENTS, METRICS, SPANS, Kind, Status, declared_span
from rushes.launch import local
from rushes.sdk.exposition import number

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

PROMPT = "a canary-yellow ball rolls down a green hill"


def _sound(path: Path) -> float:
    """RMS of the first audio track, 0 without one."""
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return 0.0
        samples = np.concatenate([f.to_ndarray().ravel() for f in container.decode(audio=0)])
    return float(np.sqrt(np.mean(np.square(samples.astype(np.float64)))))


@pytest.mark.parametrize("model", ["MOCHI1", "LTX2", "OPENSORA"])
def test_generate_ends_with_a_video_and_its_trace(platform: Platform, tmp_path: Path, model: str) -> None:
    done = platform.rushes("generate", PROMPT, "--model", model, "--out-dir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    path, trace_url = done.stdout.split()
    with av.open(path) as container:
        frames = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
    assert len(frames) >= 16
    assert np.std(np.stack(frames)) > 1
    assert (_sound(Path(path)) > 0.01) == (model == "LTX2")
    assert httpx.get(trace_url).status_code == 200

    trace_id = trace_url.rsplit("/", 1)[1]
    spans = platform.spans(trace_id)
    assert {s["traceId"] for s in spans} == {trace_id}
    by_id = {s["spanId"]: s for s in spans}
    names = {s["name"] for s in spans}
    for span in spans:
        declared = declared_span(span["name"])
        assert declared is not None, span["name"]
        parent = by_id[span["parentSpanId"]]["name"] if span.get("parentSpanId") else None
        above = declared_span(parent) if parent else None
        assert (above.name if above else None) == declared.parent
    expected = {
        "gateway", "auth.validate", "rate_limit.check", "quota.verify", "prompt_processing", "safety.pregen",
        "blocklist.check", "queue_wait", "scheduler.assign", "worker_setup", "model.load_check", "dit_inference",
        "noise.initialize", "denoising_loop", "step_1", "step_8", "vae_decode", "transcode", "x264.encode", "upload",
        "storage.write", "text_encoder.gemma3" if model == "LTX2" else "text_encoder.t5xxl",
    }  # fmt: skip
    assert expected <= names
    assert ("audio_generation" in names) == (model == "LTX2")
    (root,) = (s for s in spans if s["name"] == "video_generation_request")
    ratio = next(
        a["value"]["doubleValue"] for a in root["attributes"] if a["key"] == "rushes.attributed_ratio"
    )
    assert ratio >= 0.95
    instances = {
        a["value"]["stringValue"]
        for s in spans
        for a in s["service"]["attributes"]
        if a["key"] == "service.instance.id"
    }
    assert instances == {"gateway", "encode-0", "generate-0"}


def test_a_foreign_host_name_is_refused(platform: Platform) -> None:
    reply = httpx.get(f"{platform.local.ui}/api/traces", headers={"Host": "rebound.example:8400"})
    assert reply.status_code == 400


@pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")
def test_the_official_client_works_unchanged(platform: Platform, tmp_path: Path) -> None:
    client = openai.OpenAI(base_url=f"{platform.gateway}/v1", api_key=platform.local.api_key)
    video = client.videos.create_and_poll(model="OPENSORA", prompt=PROMPT)
    assert video.status == "completed"
    client.videos.download_content(video.id).write_to_file(tmp_path / "v.mp4")
    with av.open(str(tmp_path / "v.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 16


def test_logs_of_a_trace_come_back_in_the_specifications_format(platform: Platform) -> None:
    video_id, trace_id = platform.submit(PROMPT)
    platform.ended(video_id)

    def look() -> list[dict[str, Any]] | None:
        reply = httpx.get(f"{platform.local.ui}/api/logs", params={"trace_id": trace_id})
        lines = [json.loads(line) for line in reply.text.splitlines()]
        return lines if any(line["event"] == "generation.job.completed" for line in lines) else None

    lines = eventually(look, what="the job's last log line")
    assert [line["context"]["step"] for line in lines if line["event"] == "generation.step.completed"] == [
        *range(1, 9)
    ]
    for line in lines:
        assert list(line) == [
            "timestamp", "level", "service", "component", "worker_id", "event", "request_id", "context", "trace_id",
            "span_id",
        ]  # fmt: skip
        assert line["request_id"] == video_id


def _exposed(platform: Platform) -> str:
    def look() -> list[str] | None:
        urls = local.read(platform.data_dir / "local.json").metrics
        return urls if len(urls) == 4 else None

    urls = eventually(look, what="four /metrics URLs")
    return "\n".join(httpx.get(url).text for url in urls)


def test_every_process_exposes_its_metrics(platform: Platform) -> None:
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", _exposed(platform), re.MULTILINE))
    for name, kind in types.items():
        if name in METRICS:
            assert kind == METRICS[name].kind.value
        else:
            assert name.startswith("target"), f"{name} is not declared"


def _scenario(platform: Platform) -> list[str]:
    """One of everything that a healthy platform does; the trace ids."""
    done = [
        platform.submit(PROMPT, model="LTX2"),
        platform.submit(PROMPT),
        platform.submit(PROMPT, model="OPENSORA"),
        platform.submit("a video of child porn"),
    ]
    doomed = platform.submit(PROMPT, steps=50, seconds="5", size="128x128")
    httpx.delete(f"{platform.gateway}/v1/videos/{doomed[0]}", headers=platform.auth)
    httpx.post(f"{platform.gateway}/v1/videos", headers=platform.auth, json={"prompt": "x", "model": "SORA9"})
    httpx.get(f"{platform.local.ui}/api/v1/query", params={"query": "1"}).raise_for_status()
    for video_id, _ in (*done, doomed):
        platform.ended(video_id)
    return [trace_id for _, trace_id in (*done, doomed)]


def test_every_metric_that_is_not_pending_is_emitted(platform: Platform) -> None:
    """The completeness of the catalog: what it calls stable comes out of the running platform, and moves."""
    _scenario(platform)
    text = _exposed(platform)
    sums: dict[str, float] = {}
    for name, value in re.findall(r"^([a-z_0-9]+)(?:{.*})? (\S+)$", text, re.MULTILINE):
        sums[name] = sums.get(name, 0) + float(value)
    # Nothing is dropped, rejected or refused on a healthy platform; their own tests make it happen.
    unhealthy = {
        "rushes_telemetry_rejected_total",
        "rushes_telemetry_dropped_total",
        "rushes_ingest_refused_total",
        "rushes_ingest_cut_total",
        "rushes_store_dropped_rows_total",
        "rushes_store_dropped_bytes_total",
    }
    for name in ("revenue_per_generation_usd_count", "rushes_cost_per_delivered_second_usd_count"):
        assert sums[name] > 0  # this platform has prices
    assert sums["rushes_compute_cost_usd_total"] == pytest.approx(
        sums["rushes_compute_seconds_total"] * 0.0001
    )
    for name, metric in METRICS.items():
        if metric.status is Status.PENDING:
            assert name not in sums
            assert f"{name}_count" not in sums, f"{name} is emitted, but the catalog still calls it pending"
        elif metric.requires:
            continue  # a GPU, a cache: tests/instrument sees it come out of a recording, or of other pipelines
        elif metric.kind is Kind.HISTOGRAM:
            assert sums[f"{name}_count"] > 0, name
        elif metric.kind is Kind.COUNTER and name not in unhealthy:
            assert sums[name] > 0, name
        elif name not in unhealthy:
            assert name in sums


def test_every_span_that_is_not_pending_is_written(platform: Platform) -> None:
    seen = {s["name"] for trace_id in _scenario(platform) for s in platform.spans(trace_id)}
    declared = {declaration.name for name in seen if (declaration := declared_span(name))}
    # What needs a GPU, or a model of another make, is seen in tests/instrument.
    stable = {name for name, span in SPANS.items() if span.status is Status.STABLE and not span.requires}
    assert not stable - declared
    assert not {name for name, span in SPANS.items() if span.status is Status.PENDING} & declared


def test_every_event_of_a_healthy_platform_is_logged(platform: Platform) -> None:
    _scenario(platform)
    # What is logged only when something breaks, by libraries, or at DEBUG has tests of its own.
    broken = re.compile(
        r"scrape\..*|generation\.checkpoint\..*|generation\.job\.(interrupted|resumed|retried)|generation\.model\.evicted|worker\.(lost|stopped|status\.changed)|process\.exited|ingest\..*|telemetry\..*|gpu\..*|log\.message|.*\.request\.failed|instrument\..*|webhook\..*"
    )
    expected = {name for name in EVENTS if not broken.fullmatch(name)}

    def look() -> bool:
        reply = httpx.get(f"{platform.local.ui}/api/logs", params={"limit": "5000"})
        return expected <= {json.loads(line)["event"] for line in reply.text.splitlines()}

    eventually(look, what=f"all of {sorted(expected)}")


def _values(platform: Platform, path: str, **params: str) -> list[Any]:
    reply = httpx.get(f"{platform.local.ui}/api/v1/{path}", params=params)
    assert reply.status_code == 200, reply.text
    data: list[Any] = reply.json()["data"]
    return data


def test_the_control_room_keeps_its_own_telemetry_and_says_what_it_means(platform: Platform) -> None:
    protobuf = {"content-type": "application/x-protobuf"}
    refused = httpx.post(f"{platform.local.otlp_http}/v1/traces", content=b"\xff", headers=protobuf)
    assert refused.status_code == 400
    assert _values(platform, "query", query="1")
    exposed = httpx.get(f"{platform.local.ui}/metrics").text
    own = set(re.findall(r"^# TYPE (rushes_\S+)", exposed, re.MULTILINE))
    assert own >= {
        "rushes_ingest_accepted_total",
        "rushes_ingest_refused_total",
        "rushes_query_duration_seconds",
        "rushes_store_parts",
        "rushes_store_bytes",
        "rushes_store_disk_free_bytes",
        "rushes_server_memory_bytes",
    }

    def kept() -> bool:
        names = _values(platform, "label/__name__/values")
        return all(name in names or f"{name}_count" in names for name in own)

    eventually(kept, what=f"{sorted(own)} in the control room's own store")
    reasons = _values(platform, "label/reason/values", **{"match[]": "rushes_ingest_refused_total"})
    assert "undecodable" in reasons
    about = httpx.get(f"{platform.local.ui}/api/v1/metadata").json()["data"]
    assert all(about[name][0]["help"] for name in own)


def test_the_control_room_has_the_same_names_and_buckets(platform: Platform) -> None:
    platform.ended(platform.submit(PROMPT)[0])
    families = ("video_generation_duration_seconds", "dit_inference_step_duration_ms")
    wanted = {"video_generation_success_total", *(f"{family}_bucket" for family in families)}
    eventually(
        lambda: wanted <= set(_values(platform, "label/__name__/values")),
        what="the series",
    )
    names = set(_values(platform, "label/__name__/values"))
    for name in names - {"target_info"}:  # which is made of resources, as Prometheus makes it
        family = re.sub(r"_(bucket|sum|count)$", "", name)
        assert name in METRICS or (family in METRICS and METRICS[family].kind is Kind.HISTOGRAM), name
    for family in families:
        bounds = {s["le"] for s in _values(platform, "series", **{"match[]": f"{family}_bucket"})}
        assert bounds == {number(b) for b in METRICS[family].buckets} | {"+Inf"}
    reply = httpx.get(
        f"{platform.local.ui}/api/v1/query",
        params={"query": "sum by (model) (video_generation_success_total)"},
    )
    assert reply.json()["status"] == "success"
    assert any(float(s["value"][1]) > 0 for s in reply.json()["data"]["result"])


def _everything(platform: Platform) -> Iterable[tuple[str, bytes]]:
    """Every byte that left a process: logs, metrics, what the control room tells, and all files but the job's row."""
    for folder, _, names in os.walk(platform.data_dir):
        for name in names:
            path = Path(folder, name)
            with contextlib.suppress(FileNotFoundError):  # the store merges its parts as it likes
                yield str(path), path.read_bytes()
    yield "metrics", _exposed(platform).encode()
    ui = platform.local.ui
    yield "logs", httpx.get(f"{ui}/api/logs", params={"limit": "5000"}).content
    for summary in httpx.get(f"{ui}/api/traces", params={"limit": "200"}).json()["traces"]:
        yield "trace", httpx.get(f"{ui}/api/traces/{summary['trace_id']}").content
    yield "series", httpx.get(f"{ui}/api/v1/series", params={"match[]": '{__name__=~".+"}'}).content
    for page in ("/", "/videos", "/traces"):
        yield page, httpx.get(f"{ui}{page}").content


def test_a_prompt_and_a_key_are_found_nowhere(platform: Platform) -> None:
    canary = "xylophone-quetzal-7391"
    traces = [
        platform.submit(f"a {canary} sings", model="LTX2")[1],
        platform.submit(f"child porn {canary}")[1],
    ]
    for trace_id in traces:
        platform.spans(trace_id)  # the last telemetry of a job has come
    replies = [
        httpx.post(f"{platform.gateway}/v1/videos", headers=platform.auth, json=body).content
        for body in (
            {"prompt": canary * 500, "model": "MOCHI1"},
            {"prompt": canary, "model": "MOCHI1", "size": "7x7"},
            {"prompt": [canary], "model": "MOCHI1"},
            {"negative_prompt": canary, "model": "MOCHI1"},
        )
    ]
    wrong_key = "rk_" + "canary0wrong0key" * 2
    httpx.get(f"{platform.gateway}/v1/videos", headers={"Authorization": f"Bearer {wrong_key}"})
    secret = platform.local.api_key
    assert secret is not None
    searched = 0
    for where, content in (*_everything(platform), *(("error reply", reply) for reply in replies)):
        searched += len(content)
        assert canary.encode() not in content, where
        assert wrong_key.encode() not in content, where
        if not where.endswith("local.json"):
            assert secret.encode() not in content, where
    assert searched > 100_000
    with sqlite3.connect(platform.data_dir / "studio.db") as database:
        assert canary not in "\n".join(database.iterdump())
