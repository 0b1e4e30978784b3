"""`/metrics`: what the meters hold, in Prometheus' text format or OpenMetrics, with names exactly as declared.

prometheus_client and OpenTelemetry's Prometheus exporter rename (`checkpoint_recovery_count` becomes
`..._count_total`, a unit of ms becomes a suffix), so the lines are written here. OpenMetrics allows a counter no
name without `_total`: such a counter is exposed there as `unknown`, its samples unchanged.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from opentelemetry.sdk.metrics.export import (
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    Sum,
)

from rushes.catalog import METRICS

_WHOLE: Final = 1e15  # floats up to here hold integers exactly

__all__ = ["OPENMETRICS", "TEXT", "number", "render"]

TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_INVALID: Final = re.compile(r"[^a-zA-Z0-9_:]")
_ESCAPES: Final = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})
_HELP_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\n": "\\n"})


def number(value: float) -> str:
    """A sample value or bucket bound as Prometheus writes it: 5, 0.5, +Inf."""
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if math.isnan(value):
        return "NaN"
    return str(int(value)) if value == int(value) and abs(value) < _WHOLE else repr(float(value))


def _labels(attributes: Mapping[str, object], **more: str) -> str:
    pairs = [(_INVALID.sub("_", k), str(v)) for k, v in sorted(attributes.items())] + list(more.items())
    if not pairs:
        return ""
    return "{" + ",".join(f'{k}="{v.translate(_ESCAPES)}"' for k, v in pairs) + "}"


def render(data: MetricsData | None, accept: str = "") -> tuple[str, str]:
    """The exposition and its content type; OpenMetrics, with exemplars, if the Accept header asks for it."""
    openmetrics = "application/openmetrics-text" in accept
    lines: list[str] = []
    for metrics in _families(data):
        lines.extend(_family(metrics, openmetrics=openmetrics))
    if openmetrics:
        lines.append("# EOF")
    return "".join(f"{line}\n" for line in lines), OPENMETRICS if openmetrics else TEXT


def _families(data: MetricsData | None) -> list[list[Metric]]:
    """Metrics by name: several scopes or instruments may feed one, and a family may stand only once."""
    families: dict[str, list[Metric]] = {}
    for resource in data.resource_metrics if data else ():
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                families.setdefault(_INVALID.sub("_", metric.name), []).append(metric)
    return [families[name] for name in sorted(families)]


def _family(metrics: list[Metric], *, openmetrics: bool) -> Iterator[str]:
    metric = metrics[0]
    name = _INVALID.sub("_", metric.name)
    data = metric.data
    if isinstance(data, Sum):
        kind = "counter" if data.is_monotonic else "gauge"
    elif isinstance(data, Gauge):
        kind = "gauge"
    elif isinstance(data, Histogram):
        kind = "histogram"
    else:
        return  # exponential histograms have no text form
    family = name
    if openmetrics and kind == "counter":
        if name.endswith("_total"):
            family = name.removesuffix("_total")
        else:
            kind = "unknown"
    declared = METRICS.get(name)
    text = declared.help if declared else (metric.description or "")
    if text:
        yield f"# HELP {family} {text.translate(_HELP_ESCAPES)}"
    yield f"# TYPE {family} {kind}"
    for point in (p for m in metrics if type(m.data) is type(data) for p in m.data.data_points):
        if isinstance(point, HistogramDataPoint):
            yield from _histogram(name, point, openmetrics=openmetrics)
        elif isinstance(point, NumberDataPoint):
            yield f"{name}{_labels(point.attributes or {})} {number(point.value)}"


def _histogram(name: str, point: HistogramDataPoint, *, openmetrics: bool) -> Iterator[str]:
    attributes = point.attributes or {}
    bounds: Sequence[float] = [*point.explicit_bounds, math.inf]
    count = 0
    below = -math.inf
    for bound, in_bucket in zip(bounds, point.bucket_counts, strict=True):
        count += in_bucket
        exemplar = _exemplar(point, below, bound) if openmetrics else ""
        yield f"{name}_bucket{_labels(attributes, le=number(bound))} {count}{exemplar}"
        below = bound
    yield f"{name}_sum{_labels(attributes)} {number(point.sum)}"
    yield f"{name}_count{_labels(attributes)} {point.count}"


def _exemplar(point: HistogramDataPoint, below: float, bound: float) -> str:
    inside = [e for e in point.exemplars if below < e.value <= bound and e.trace_id]
    if not inside:
        return ""
    latest = max(inside, key=lambda e: e.time_unix_nano)
    ids = _labels({"trace_id": f"{latest.trace_id:032x}", "span_id": f"{latest.span_id or 0:016x}"})
    return f" # {ids} {number(latest.value)} {latest.time_unix_nano / 1e9:.3f}"
