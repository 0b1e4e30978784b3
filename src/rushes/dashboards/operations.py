"""The specification's Operations dashboard, for the signals that the platform emits today.

GPU utilisation, checkpoint recovery and temporal consistency join when their signals are there: an empty panel
that can't fill is a lie about what is watched.
"""

from __future__ import annotations

from typing import Final

from rushes.dashboards.panel import Dashboard, Kind, Panel, Query, Section, Threshold, Unit

__all__ = ["OPERATIONS"]


def _quantile(q: float, metric: str, *by: str, where: str = "", window: str = "$__rate_interval") -> str:
    labels = ", ".join(("le", *by))
    selector = f"{{{where}}}" if where else ""
    return f"histogram_quantile({q}, sum by ({labels}) (rate({metric}_bucket{selector}[{window}])))"


def _increase(metric: str, window: str = "$__range") -> str:
    return f"(sum(increase({metric}[{window}])) or vector(0))"


_DONE: Final = 'status="completed"'
_TOTAL: Final = 'step_type="total"'
_SUCCESS: Final = _increase("video_generation_success_total")
_FAILURE: Final = _increase("video_generation_failure_total")

_HEALTH: Final = Section(
    id="health",
    title="Generation health",
    panels=(
        Panel(
            id="success-rate",
            title="Success rate",
            kind=Kind.STAT,
            unit=Unit.PERCENT,
            # 0/0 is NaN, which is shown as no data: nothing was generated, so there is no rate.
            queries=(Query(expr=f"100 * {_SUCCESS} / ({_SUCCESS} + {_FAILURE})"),),
            threshold=Threshold(99, "target"),
            good="up",
            bar=True,
            hint="Videos delivered, of those that ended. Cancellations count as neither.",
        ),
        Panel(
            id="p50-latency",
            title="P50 latency",
            kind=Kind.STAT,
            unit=Unit.SECONDS,
            queries=(
                Query(
                    expr=_quantile(0.5, "video_generation_duration_seconds", where=_DONE, window="$__range")
                ),
            ),
            good="down",
            hint="Half of the delivered videos took at most this long, from acceptance to stored.",
        ),
        Panel(
            id="p99-latency",
            title="P99 latency",
            kind=Kind.STAT,
            unit=Unit.SECONDS,
            queries=(
                Query(
                    expr=_quantile(0.99, "video_generation_duration_seconds", where=_DONE, window="$__range")
                ),
            ),
            threshold=Threshold(60, "target"),
            good="down",
            hint="All but one in a hundred delivered videos took at most this long.",
        ),
        Panel(
            id="active-jobs",
            title="Active jobs",
            kind=Kind.STAT,
            queries=(Query(expr="sum(queue_depth_total)"),),
            hint="Accepted and not ended: waiting, assigned or generating.",
        ),
        Panel(
            id="request-rate",
            title="Request rate",
            kind=Kind.STAT,
            unit=Unit.PER_MINUTE,
            queries=(Query(expr="60 * sum(rate(video_generation_request_total[$__range]))"),),
            hint="Accepted requests a minute.",
        ),
    ),
)


def _waiting(tier: str) -> Panel:
    return Panel(
        id=f"waiting-{tier}",
        title=tier.capitalize() if tier != "realtime" else "Real-time",
        kind=Kind.STAT,
        queries=(Query(expr=f'sum(queue_depth_total{{tier="{tier}", status="waiting"}})'),),
        good="down",
        hint=f"Jobs of the tier {tier} that wait.",
    )


_QUEUE: Final = Section(
    id="queue",
    title="Queue status",
    panels=(
        *(_waiting(tier) for tier in ("premium", "standard", "free", "realtime")),
        Panel(
            id="wait-standard",
            title="Avg wait (standard)",
            kind=Kind.STAT,
            unit=Unit.SECONDS,
            queries=(
                Query(
                    expr='sum(increase(queue_wait_duration_seconds_sum{tier="standard"}[$__range]))'
                    ' / sum(increase(queue_wait_duration_seconds_count{tier="standard"}[$__range]))'
                ),
            ),
            threshold=Threshold(300, "limit"),
            good="down",
            hint="Mean time that standard jobs waited for a GPU.",
        ),
    ),
)

_LATENCY: Final = Section(
    id="latency",
    title="Latency",
    panels=(
        Panel(
            id="latency",
            title="Generation latency",
            kind=Kind.PLOT,
            unit=Unit.SECONDS,
            queries=(
                Query(expr=_quantile(0.5, "video_generation_duration_seconds", where=_DONE), legend="P50"),
                Query(expr=_quantile(0.99, "video_generation_duration_seconds", where=_DONE), legend="P99"),
            ),
            threshold=Threshold(60, "target, standard"),
            hint="Acceptance to stored video, delivered videos of all tiers.",
        ),
        Panel(
            id="step-duration",
            title="Step duration by model",
            kind=Kind.PLOT,
            unit=Unit.MILLISECONDS,
            queries=(
                Query(
                    expr=_quantile(0.5, "dit_inference_step_duration_ms", "model", where=_TOTAL),
                    legend="{model}",
                ),
                Query(
                    expr=_quantile(0.99, "dit_inference_step_duration_ms", "model", where=_TOTAL),
                    legend="{model} P99",
                    dashed=True,
                ),
            ),
            threshold=Threshold(700, "target"),
            hint="One denoising step of the diffusion transformer: P50 solid, P99 dashed.",
        ),
        Panel(
            id="vae-decode",
            title="VAE decode time by model",
            kind=Kind.PLOT,
            unit=Unit.SECONDS,
            queries=(Query(expr=_quantile(0.5, "vae_decode_duration_seconds", "model"), legend="{model}"),),
            threshold=Threshold(10, "target"),
            hint="Latents to frames, P50.",
        ),
    ),
)

_COUNTS: Final = Section(
    id="counts",
    title="Volume and failures",
    panels=(
        Panel(
            id="by-model",
            title="Generation by model (last 24 h)",
            kind=Kind.BARS,
            queries=(
                Query(
                    expr="sum by (model) (increase(video_generation_success_total[$__range]))",
                    legend="{model}",
                    window="24h",
                ),
            ),
            rows=("MOCHI1", "LTX2", "OPENSORA", "VEO3"),
            hint="Delivered videos of the last 24 hours.",
        ),
        Panel(
            id="errors",
            title="Errors by type",
            kind=Kind.TABLE,
            queries=(
                Query(
                    expr="sum by (reason) (increase(video_generation_failure_total[$__range]))",
                    legend="{reason}",
                ),
            ),
            rows=("timeout", "cuda_error", "safety_block", "oom", "checkpoint"),
            hint="Failed videos by reason, over the time range.",
        ),
        Panel(
            id="workers",
            title="Worker status",
            kind=Kind.BARS,
            queries=(Query(expr="sum by (status) (worker_count_total)", legend="{status}"),),
            rows=("generating", "idle", "loading", "draining", "offline"),
            hint="Worker processes by what they do now.",
        ),
        Panel(
            id="worker-list",
            title="Workers",
            kind=Kind.TABLE,
            queries=(
                Query(
                    expr='max by (worker_id, status) (gpu_worker_status{status!="healthy"}) == 1',
                    legend="{worker_id}",
                ),
            ),
            value_label="status",
            hint="Each worker and the state it is in.",
        ),
    ),
)

OPERATIONS: Final = Dashboard(
    id="operations",
    title="Operations",
    sections=(_HEALTH, _QUEUE, _LATENCY, _COUNTS),
)
