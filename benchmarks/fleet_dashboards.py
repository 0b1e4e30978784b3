"""What the specification's four dashboards ask: the Operations page's panels, and its other pictures as PromQL.

Of the pictures' panels that no page has yet, those are here whose signals the catalog declares.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from benchmarks.fleet import HOURS
from rushes.dashboards import OPERATIONS
from rushes.dashboards.panel import Kind
from rushes.web.timerange import TimeRange

__all__ = ["Ask", "asks"]


@dataclass(frozen=True, slots=True)
class Ask:
    """One query of a dashboard; an instant one has a step of 0."""

    dashboard: str
    panel: str
    expr: str
    start_s: float
    end_s: float
    step_s: float


def _quantile(q: float, metric: str, by: str = "le", where: str = "") -> str:
    return f"histogram_quantile({q}, sum by ({by}) (rate({metric}_bucket{where}[$__rate_interval])))"


def _of_range(metric: str, by: str = "") -> str:
    return f"sum {by}(increase({metric}[$__range]))"


_DONE: Final = 'video_generation_duration_seconds_bucket{status="completed"'
_BLOCKED: Final = f"({_of_range('pregen_safety_block_total')} + {_of_range('postgen_safety_block_total')})"


def _budget(good: str, total: str, objective: float) -> dict[str, str]:
    """The share of an error budget that is used, over the range and at each step."""
    used = f"(1 - sum(increase({good}[$__range])) / sum(increase({total}[$__range]))) / {1 - objective:g}"
    burn = f"(1 - sum(rate({good}[1h])) / sum(rate({total}[1h]))) / {1 - objective:g}"
    return {"budget used": used, "~burn rate": burn}


_BUDGETS: Final = {
    "success": _budget("video_generation_success_total", "video_generation_request_total", 0.995),
    "standard latency": _budget(
        _DONE + ', tier="standard", le="60"}',
        'video_generation_duration_seconds_count{status="completed", tier="standard"}',
        0.99,
    ),
    "real-time latency": _budget(
        _DONE + ', tier="realtime", le="2"}',
        'video_generation_duration_seconds_count{status="completed", tier="realtime"}',
        0.95,
    ),
    "queue wait": _budget(
        'queue_wait_duration_seconds_bucket{tier="standard", le="300"}',
        'queue_wait_duration_seconds_count{tier="standard"}',
        0.95,
    ),
}

# A panel that starts with ~ is drawn over time, the others are one number or one row a label.
_MORE: Final[dict[str, dict[str, str]]] = {
    "Operations": {
        "~GPU utilisation": "avg(gpu_utilization_percent)",
        "GPU utilisation by pod": "avg by (worker_id) (gpu_utilization_percent)",
        "VRAM": "avg(gpu_memory_utilization_percent)",
        "recoveries": _of_range("checkpoint_recovery_count"),
        "~temporal consistency": "avg by (duration_bucket) (temporal_consistency_score)",
    },
    "Video Safety": {
        "~check, P99": _quantile(0.99, "safety_check_duration_ms", "le, check_type"),
        "checks": _of_range("safety_check_duration_ms_count", "by (check_type) "),
        "blocks": _BLOCKED,
        "block rate by category": (
            "100 * sum by (category) (increase(pregen_safety_block_total[$__range]))"
            f" / scalar({_of_range('video_generation_request_total')})"
        ),
        "before and after": f"100 * {_of_range('pregen_safety_block_total')} / {_BLOCKED}",
        "~blocks a minute": "60 * sum by (category) (rate(pregen_safety_block_total[$__rate_interval]))",
        "deepfake scores": _of_range("deepfake_detection_score_bucket", "by (le) "),
        "C2PA embedded": (
            f"100 * {_of_range('c2pa_embed_success_total')} / {_of_range('video_generation_success_total')}"
        ),
        "CSAM": _of_range("csam_detection_total"),
        "false positives": "max by (category) (false_positive_rate)",
    },
    "GPU Cluster": {
        "pods": 'count(gpu_worker_status{status="healthy"})',
        "GPUs": "count(gpu_utilization_percent)",
        "healthy": '100 * avg(gpu_worker_status{status="healthy"})',
        "~utilisation": "avg(gpu_utilization_percent)",
        "worker status": "sum by (status) (worker_count_total)",
        "memory": "count_values('bytes', round(gpu_memory_used_bytes, 2e10))",
        "~memory, P95": "quantile(0.95, gpu_memory_used_bytes)",
        "temperature by pod": "avg by (worker_id) (gpu_temperature_celsius)",
        "hottest": "topk(10, max by (worker_id) (gpu_temperature_celsius))",
        "models": "count by (model) (count by (model, instance) (rushes_model_cache_hits_total))",
        "cache misses": (
            f"100 * {_of_range('rushes_model_cache_misses_total')}"
            f" / ({_of_range('rushes_model_cache_hits_total')} + {_of_range('rushes_model_cache_misses_total')})"
        ),
        "~NVLink": "avg(nvlink_bandwidth_gbps)",
        "NVLink peak": "max(max_over_time(nvlink_bandwidth_gbps[$__range]))",
        "~communication": (
            "100 * sum(rate(tensor_parallel_comm_duration_ms_sum[$__rate_interval]))"
            ' / sum(rate(dit_inference_step_duration_ms_sum{step_type="total"}[$__rate_interval]))'
        ),
    },
    "Error budgets": {
        ("~" if panel.startswith("~") else "") + f"{name}, {panel.removeprefix('~')}": expr
        for name, budget in _BUDGETS.items()
        for panel, expr in budget.items()
    },
}


def asks(end_s: float) -> list[Ask]:
    """Everything, over the hours until then: numbers at the end, lines at the pages' steps, a number's course too."""
    over = TimeRange(end_s - HOURS * 3600, end_s)
    found = []

    def ask(dashboard: str, panel: str, expr: str, *, line: bool, course: bool = False) -> None:
        step = over.step_s
        rate = f"{over.rate_s}s"
        whole = expr.replace("$__rate_interval", rate).replace("$__range", f"{HOURS * 3600}s")
        lines = (dashboard, expr.replace("$__rate_interval", rate).replace("$__range", rate))
        begin = over.start_s + over.rate_s
        if not line:
            found.append(Ask(dashboard, panel, whole, end_s, end_s, 0))
        if line or course:
            found.append(Ask(dashboard, panel, lines[1], begin, end_s, step))

    for panel in OPERATIONS.panels:
        for query in panel.queries:
            line = panel.kind is Kind.PLOT
            ask("Operations", panel.id, query.expr, line=line, course=panel.kind is Kind.STAT)
    for dashboard, panels in _MORE.items():
        for name, expr in panels.items():
            ask(dashboard, name.removeprefix("~"), expr, line=name.startswith("~"))
    return found
