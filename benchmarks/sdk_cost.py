"""What one measurement costs the caller, beside OpenTelemetry's own instruments and spans in the same run."""

from __future__ import annotations

import timeit

from opentelemetry import metrics, trace

from rushes.sdk import configure, instruments, tracing

__all__ = ["measure"]

_TIMES = 20_000


def measure() -> list[tuple[str, str]]:
    """Microseconds a call, best of three, with nothing exported."""
    configure(log_level=None)
    plain = metrics.get_meter("bench").create_histogram("bench_seconds")
    tracer = trace.get_tracer("bench")

    def otel_span() -> None:
        with tracer.start_as_current_span("vae_decode"):
            pass

    def our_span() -> None:
        with tracing.span("vae_decode"):
            pass

    calls = {
        "OpenTelemetry histogram.record": lambda: plain.record(1.0, {"model": "M"}),
        "rushes histogram.record, labels checked": lambda: instruments.vae_decode_duration_seconds.record(
            1.0, model="M"
        ),
        "OpenTelemetry span": otel_span,
        "rushes span, declaration checked": our_span,
    }
    return [
        (what, f"{min(timeit.repeat(call, number=_TIMES, repeat=3)) / _TIMES * 1e6:.1f} us")
        for what, call in calls.items()
    ]
