"""Recorded rows as the studio writes them: videos with their traces and logs, and a fleet's metrics."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rushes.query.traces import SpanRow
from rushes.query.videos import VideoRow
from rushes.web.story import iso

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from web.fakes import Course, FakePromQL, Room

__all__ = ["MS", "HostileText", "add_fleet", "add_video", "fill_room", "span"]

MS = 1_000_000

HostileText = '<script>window.__owned = 1</script><img src=x onerror="window.__owned = 1">'


def _hex(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def span(
    trace_id: str,
    name: str,
    start_ns: int,
    duration_ns: int,
    parent: str = "",
    **attributes: Any,
) -> SpanRow:
    status = attributes.pop("status", "unset")
    message = attributes.pop("message", "")
    return SpanRow(
        trace_id=trace_id,
        span_id=_hex(f"{trace_id}{name}{start_ns}{parent}", 16),
        parent_span_id=parent,
        name=name,
        service="video-generation",
        kind="internal",
        start_ns=start_ns,
        duration_ns=duration_ns,
        status=status,
        status_message=message,
        attributes=attributes,
        resource={"service.name": "video-generation", "host.name": "gpu-host-3", "service.version": "0.1.0"},
        events=[],
    )


_PARTS = {
    "MOCHI1": {"joint_attn": 0.62, "ffn": 0.31, "other": 0.07},
    "LTX2": {"joint_attn": 0.4, "cross_attn": 0.17, "ffn": 0.25, "audio": 0.13, "other": 0.05},
    "OPENSORA": {"spatial_attn": 0.22, "temporal_attn": 0.34, "cross_attn": 0.14, "ffn": 0.25, "other": 0.05},
}


SAMPLED, FIRST_SAMPLED = 10, 2  # every tenth step, from the second
MODULES = 28


def _parts(model: str, step_ns: int) -> dict[str, int]:
    """Nanoseconds by kind, which make up the step exactly."""
    parts = {kind: round(share * step_ns) for kind, share in _PARTS.get(model, {}).items() if kind != "other"}
    return {**parts, "other": step_ns - sum(parts.values())} if parts else {}


def _written(step_ns: int, parts: dict[str, int], *, first: bool) -> dict[str, Any]:
    """A step's attributes, as `rushes.instrument` writes them."""
    return {
        "rushes.ns.total": step_ns,
        "rushes.passes": 2,
        "rushes.clock": "gpu",
        **({"rushes.first_step": True} if first else {}),
        **{f"rushes.ns.{kind}": ns for kind, ns in parts.items()},
        **{f"rushes.executed.{kind}": MODULES for kind in parts if kind != "other"},
    }


class _Clock:
    """Lays spans one after another, and log lines between them."""

    def __init__(self, request_id: str, trace_id: str, at_ns: int) -> None:
        self.request_id = request_id
        self.trace_id = trace_id
        self.at = at_ns
        self.spans: list[SpanRow] = []
        self.lines: list[dict[str, Any]] = []

    def log(self, level: str, component: str, event: str, span_id: str = "", **context: Any) -> None:
        self.lines.append(
            {
                "timestamp": iso(self.at),
                "level": level,
                "service": "video-generation",
                "component": component,
                "worker_id": "worker-pod-1-gpu-0" if component == "dit-worker" else "",
                "event": event,
                "request_id": self.request_id,
                "context": context,
                "trace_id": self.trace_id,
                "span_id": span_id,
            }
        )

    def add(self, name: str, ms: float, parent: str, **attributes: Any) -> SpanRow:
        made = span(self.trace_id, name, self.at, round(ms * MS), parent, **attributes)
        self.spans.append(made)
        self.at += round(ms * MS)
        return made

    def sum(self, name: str, start_ns: int, duration_ns: int, parent: str, *, modules: int) -> None:
        """A sum over modules; 0 of them where there are none to count."""
        counted = {"rushes.executed": modules} if modules else {}
        made = span(
            self.trace_id, name, start_ns, duration_ns, parent, **{"rushes.aggregated": True, **counted}
        )
        self.spans.append(made)

    def step(self, number: int, ms: float, parent: str, parts: dict[str, int], **attributes: Any) -> SpanRow:
        """A step with the sums of its parts, if it was sampled."""
        known = {"step": number, "step_duration_ms": round(ms, 2)}
        written = _written(round(ms * MS), parts, first=number == 1)
        made = self.add(f"step_{number}", ms, parent, **known, **written, **attributes)
        begun = made.start_ns
        for kind, ns in parts.items():
            self.sum(kind, begun, ns, made.span_id, modules=0 if kind == "other" else MODULES)
            begun += ns
        return made

    def decode(self, ms: float, parent: str) -> None:
        """The VAE, with what its upsampling took."""
        made = self.add("vae_decode", ms, parent, output_frames=121, decode_time_ms=ms)
        for name, after, took in (("temporal_upsample", 300, 900), ("spatial_upsample", 700, 1400)):
            self.sum(name, made.start_ns + after * MS, took * MS, made.span_id, modules=4)

    def around(
        self, name: str, parent: str, children: Iterable[tuple[str, float]], **attributes: Any
    ) -> SpanRow:
        start = self.at
        own = _hex(f"{self.trace_id}{name}{start}{parent}", 16)
        self.at += MS // 4
        for child, ms in children:
            self.add(child, ms, own)
        self.at += MS // 4
        made = span(self.trace_id, name, start, self.at - start, parent, **attributes)
        self.spans.append(made)
        return made


def add_video(
    room: Room,
    name: str,
    accepted_ns: int,
    *,
    model: str = "MOCHI1",
    tier: str = "standard",
    steps: int = 50,
    done: int | None = None,
    step_ms: float = 690,
    error: str = "",
    killed: bool = False,
    attributes: dict[str, Any] | None = None,
) -> VideoRow:
    """A video and all it left behind; with `done` it is still generating, with `error` it failed at a step.

    With `killed`, too, its worker was gone before the spans around its steps ended.
    """
    request_id = f"video_{_hex(name, 32)}"
    trace_id = _hex(f"trace {name}", 32)
    root_id = _hex(f"root {name}", 16)
    clock = _Clock(request_id, trace_id, accepted_ns)
    clock.around(
        "gateway", root_id, [("auth.validate", 2), ("rate_limit.check", 1), ("quota.verify", 3)], tier=tier
    )
    clock.log(
        "INFO",
        "gateway",
        "generation.job.accepted",
        root_id,
        model=model,
        tier=tier,
        resolution="848x480",
        total_steps=steps,
    )
    clock.add("rushes.encode_wait", 38, root_id)
    clock.around(
        "prompt_processing", root_id, [("text_encoder.t5xxl", 150), ("safety.pregen", 14)], prompt_length=31
    )
    clock.log("INFO", "encoder", "generation.job.waiting", root_id, queue_depth=7)
    clock.around("queue_wait", root_id, [("scheduler.assign", 100)], queue_depth=7, priority=2)
    clock.add("queue_wait", 5100, root_id, queue_depth=7)
    clock.around("worker_setup", root_id, [("model.load_check", 52)], worker_id="worker-pod-1-gpu-0")
    clock.log("INFO", "dit-worker", "generation.job.assigned", root_id, queue_wait_seconds=5.2)
    dit_id, loop_id = _hex(f"dit {name}", 16), _hex(f"loop {name}", 16)
    dit_at = clock.at
    clock.add("noise.initialize", 48, dit_id)
    loop_at = clock.at
    last = steps if done is None and not error else done or max(1, steps * 3 // 5)
    for number in range(1, last + 1):
        ms = step_ms * (1 + 0.05 * math.sin(number * 1.7) + (0.35 if number % 17 == 0 else 0))
        parts = _parts(model, round(ms * MS)) if number % SAMPLED == FIRST_SAMPLED else {}
        failed = bool(error) and number == last and not killed
        made = clock.step(
            number,
            ms,
            loop_id,
            parts,
            **(attributes or {}),
            **(
                {"status": "error", "message": "CUDA out of memory. Tried to allocate 2.10 GiB"}
                if failed
                else {}
            ),
        )
        clock.log(
            "INFO",
            "dit-worker",
            "generation.step.completed",
            made.span_id,
            step=number,
            total_steps=steps,
            step_duration_ms=round(ms, 1),
        )
        if number % 17 == 0:
            clock.log(
                "WARN",
                "dit-worker",
                "generation.step.slow",
                made.span_id,
                step=number,
                step_duration_ms=round(ms, 1),
            )
    status = "generating" if done is not None else "failed" if error else "completed"
    if status != "generating":
        bad = {"status": "error"} if error else {}
        loop = span(trace_id, "denoising_loop", loop_at, clock.at - loop_at, dit_id, **bad)
        asked = {"model": model, "steps": steps, "resolution": "848x480"}
        dit = span(trace_id, "dit_inference", dit_at, clock.at - dit_at, root_id, **asked, **bad)
        clock.spans += [] if killed else [replace(loop, span_id=loop_id), replace(dit, span_id=dit_id)]
    if status == "completed":
        clock.decode(4500, root_id)
        if model == "LTX2":
            clock.add("audio_generation", 620, root_id, sample_rate=24000)
        clock.around("transcode", root_id, [("x264.encode", 1460)], codec="h264", bitrate=2_400_000)
        clock.around("upload", root_id, [("storage.write", 310)])
    duration = clock.at - accepted_ns
    if status != "generating":
        root = span(
            trace_id,
            "video_generation_request",
            accepted_ns,
            duration,
            request_id=request_id,
            model=model,
            tier=tier,
            **({"error.type": "internal" if killed else "oom", "status": "error"} if error else {}),
            **({"message": error} if killed else {}),
        )
        clock.spans.append(replace(root, span_id=root_id))
        event = "generation.job.failed" if error else "generation.job.completed"
        clock.log(
            "ERROR" if error else "INFO",
            "dit-worker",
            event,
            root_id,
            **(
                {"reason": "oom", "error": error} if error else {"duration_seconds": round(duration / 1e9, 2)}
            ),
        )
    digest = _hex(f"media {name}", 64)
    row = VideoRow(
        request_id=request_id,
        trace_id=trace_id,
        model=model,
        tier=tier,
        status=status,  # type: ignore[arg-type] # built above from the three that can be
        step=last,
        total_steps=steps,
        accepted_ns=accepted_ns,
        finished_ns=clock.at if status != "generating" else None,
        duration_ns=duration if status != "generating" else None,
        resolution="848x480",
        seconds=5.0,
        media=f"sha256/{digest[:2]}/{digest}.mp4" if status == "completed" else "",
        error=error,
        attributed_ratio=0.9871 if status != "generating" else None,
    )
    room.videos.put(row)
    room.traces.put(clock.spans)
    room.logs.rows = [*room.logs.rows, *clock.lines]
    return row


def add_fleet(promql: FakePromQL) -> None:
    """Metrics of a fleet as large as the specification's picture."""

    def wave(base: float, swing: float, period: float = 1500, phase: float = 0) -> Callable[[float], float]:
        return lambda t: base + swing * math.sin(t / period + phase) + swing / 3 * math.sin(t / 211 + phase)

    promql.record(r"^100 \*", {}, wave(99.2, 0.4))
    promql.record(r"^histogram_quantile\(0.5, sum by \(le\)", {}, wave(42, 6))
    promql.record(r"^histogram_quantile\(0.99, sum by \(le\)", {}, wave(74, 9, phase=1))
    promql.record(r"^sum\(queue_depth_total\)", {}, wave(1245, 80))
    promql.record(r"^60 \* sum\(rate", {}, wave(198, 20))
    for tier, base in (("premium", 45), ("standard", 234), ("free", 892)):
        promql.record(rf'tier="{tier}", status="waiting"', {}, _whole(wave(base, base / 8)))
    promql.record("queue_wait_duration_seconds_sum", {}, wave(135, 30))
    for model, base, tone in (("MOCHI1", 690, 0.0), ("LTX2", 410, 1.0), ("OPENSORA", 560, 2.0)):
        steady = wave(base, base / 15, phase=tone)
        promql.record(
            r"0\.5.*dit_inference_step", {"model": model}, _away(steady) if model == "OPENSORA" else steady
        )
        promql.record(r"0\.99.*dit_inference_step", {"model": model}, wave(base * 1.3, base / 10, phase=tone))
        promql.record("vae_decode", {"model": model}, wave(base / 150, 0.4, phase=tone))
    for model, count in (("MOCHI1", 45_234), ("LTX2", 23_456), ("OPENSORA", 12_345), ("VEO3", 5_678)):
        promql.record(r"^sum by \(model\) \(increase\(video_generation_success", {"model": model}, count)
    for reason, count in (
        ("timeout", 23),
        ("cuda_error", 12),
        ("safety_block", 456),
        ("oom", 5),
        ("checkpoint", 8),
    ):
        promql.record("video_generation_failure_total", {"reason": reason}, count)
    for status, count in (
        ("generating", 380),
        ("idle", 45),
        ("loading", 12),
        ("draining", 8),
        ("offline", 5),
    ):
        promql.record("worker_count_total", {"status": status}, count)
    for worker, status in (
        ("pod-1-gpu-0", "generating"),
        ("pod-1-gpu-1", "idle"),
        ("pod-2-gpu-0", "offline"),
    ):
        promql.record("gpu_worker_status", {"worker_id": worker, "status": status}, 1)


def _whole(course: Callable[[float], float]) -> Course:
    return lambda t: float(round(course(t)))


def _away(course: Course) -> Course:
    """The course with a gap in each hour."""
    return lambda t: None if 0.35 < (t % 3600) / 3600 < 0.45 else course(t)


def fill_room(room: Room) -> dict[str, VideoRow]:
    """A room with something of everything."""
    minute = 60_000 * MS
    add_fleet(room.promql)
    rows = {
        "done": add_video(room, "done", room.now_ns - 3 * minute),
        "failed": add_video(
            room,
            "failed",
            room.now_ns - 9 * minute,
            model="OPENSORA",
            steps=30,
            error="CUDA out of memory on worker-pod-1-gpu-0",
        ),
        "running": add_video(
            room,
            "running",
            room.now_ns - minute // 2,
            model="LTX2",
            tier="premium",
            steps=40,
            done=14,
            step_ms=410,
        ),
        "large": add_video(
            room, "large", room.now_ns - 40 * minute, model="OPENSORA", steps=300, step_ms=120
        ),
        "hostile": add_video(
            room,
            "hostile",
            room.now_ns - 55 * minute,
            steps=3,
            attributes={"note": HostileText, HostileText: "key"},
        ),
    }
    for number in range(24):
        add_video(
            room,
            f"old {number}",
            room.now_ns - (60 + 17 * number) * minute,
            model=("MOCHI1", "LTX2", "OPENSORA")[number % 3],
            tier=("free", "standard", "premium")[number % 3 - 1],
            steps=20 + number % 5,
            error="timeout" if number % 9 == 4 else "",
        )
    return rows
