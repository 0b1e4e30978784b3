"""Generation metrics: what the specification's first table and YAML block declare."""

from __future__ import annotations

from typing import Final

from rushes.catalog.labels import MODEL, REASON, STEP_TYPES, TIER
from rushes.catalog.model import Kind, Label, Metric, Status

__all__ = ["GENERATION"]

_SECTION: Final = "Generation"

GENERATION: Final = (
    Metric(
        name="video_generation_duration_seconds",
        kind=Kind.HISTOGRAM,
        help="End-to-end video generation duration",
        section=_SECTION,
        labels=(
            TIER,
            MODEL,
            Label("resolution", "width x height in pixels"),
            Label("status", "how the generation ended", ("completed", "failed", "cancelled")),
        ),
        unit="s",
        buckets=(1, 2, 5, 10, 30, 60, 120, 300, 600),
        target="Real-time: <2s, Standard: <60s",
    ),
    Metric(
        name="video_generation_request_total",
        kind=Kind.COUNTER,
        help="Accepted generation requests",
        section=_SECTION,
        labels=(TIER, MODEL),
        target="used by the alert SafetyBlockRateAnomaly",
    ),
    Metric(
        name="video_generation_success_total",
        kind=Kind.COUNTER,
        help="Successful generations",
        section=_SECTION,
        labels=(TIER, MODEL),
        target="Rate >99%",
    ),
    Metric(
        name="video_generation_failure_total",
        kind=Kind.COUNTER,
        help="Failed generations (by reason)",
        section=_SECTION,
        labels=(TIER, MODEL, REASON),
        target="Rate <1%",
    ),
    Metric(
        name="dit_inference_step_duration_ms",
        kind=Kind.HISTOGRAM,
        help="Duration of single DiT denoising step",
        section=_SECTION,
        labels=(MODEL, Label("step_type", "the part of the step, or its total", STEP_TYPES)),
        unit="ms",
        buckets=(100, 200, 300, 500, 700, 1000, 2000),
        target="<700ms per step",
    ),
    Metric(
        name="vae_decode_duration_seconds",
        kind=Kind.HISTOGRAM,
        help="3D VAE decode time",
        section=_SECTION,
        labels=(MODEL,),
        unit="s",
        buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
        target="<10s for 10s video",
    ),
    Metric(
        name="audio_generation_duration_seconds",
        kind=Kind.HISTOGRAM,
        help="Audio synthesis time",
        section=_SECTION,
        labels=(MODEL,),
        unit="s",
        buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
        target="<5s",
    ),
    Metric(
        name="temporal_consistency_score",
        kind=Kind.GAUGE,
        help="VBench temporal consistency score (0-1)",
        section=_SECTION,
        labels=(MODEL, Label("duration_bucket", "the clip's length", ("5s", "10s", "30s", "60s"))),
        target=">0.9",
        status=Status.PENDING,
    ),
    Metric(
        name="audio_sync_accuracy_ms",
        kind=Kind.HISTOGRAM,
        help="Audio-video synchronization accuracy in milliseconds",
        section=_SECTION,
        labels=(MODEL, Label("audio_type", "what the track holds", ("speech", "ambient", "music"))),
        unit="ms",
        buckets=(20, 50, 80, 120, 200, 500),
        target="<120ms",
        status=Status.PENDING,
    ),
    Metric(
        name="frames_per_second_generated",
        kind=Kind.GAUGE,
        help="Generation throughput: frames of the last video over the seconds from worker setup to its frames",
        section=_SECTION,
        labels=(MODEL,),
        target=">6 fps (real-time)",
    ),
)
