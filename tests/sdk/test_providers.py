"""`configure` in a process of its own: a collector that is away, and providers that were there before."""

from __future__ import annotations

import subprocess
import sys
import textwrap


def _run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_collector_that_is_away_disturbs_nobody_and_is_counted() -> None:
    out = _run("""
        import socket
        import rushes
        from rushes.sdk import exposition, tracing
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        rushes.configure(endpoint=f"http://127.0.0.1:{port}", log_level=None)
        for _ in range(3):
            with tracing.span("gateway"):
                pass
        assert rushes.shutdown(timeout_s=60)
        from rushes.sdk.providers import _state
        print({(l["signal"], l["reason"]): n for a in _state["telemetry"].accounts for n, l in a.dropped()})
    """)
    assert "('spans', 'export_failed'): 3" in out


def test_the_log_says_which_collector_is_away_without_its_password() -> None:
    out = _run("""
        import contextlib, io, socket
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        told = io.StringIO()
        with contextlib.redirect_stderr(told):
            import rushes
            from rushes.sdk import tracing
            rushes.configure(endpoint=f"http://me:secret@127.0.0.1:{port}", log_level="INFO")
            with tracing.span("gateway"):
                pass
            assert rushes.shutdown(timeout_s=60)
        text = told.getvalue()
        print(text.count(f"http://127.0.0.1:{port}/v1/traces") == 1, "secret" in text)
    """)
    assert out.split() == ["True", "False"]


def test_a_signal_that_opentelemetrys_variable_turns_off_is_not_exported() -> None:
    out = _run("""
        import os
        os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:1"
        os.environ["OTEL_METRICS_EXPORTER"] = "none"
        os.environ["OTEL_LOGS_EXPORTER"] = "None"
        import rushes
        print([account.signal for account in rushes.configure(log_level=None).accounts])
    """)
    assert out.strip() == "['spans']"


def test_providers_of_the_user_are_used_and_none_is_set() -> None:
    out = _run("""
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        mine = TracerProvider()
        trace.set_tracer_provider(mine)
        import rushes
        telemetry = rushes.configure(log_level=None)
        print(trace.get_tracer_provider() is mine, telemetry.tracers, telemetry.meters is not None)
    """)
    assert out.split() == ["True", "None", "True"]


def test_the_sdk_alone_is_light() -> None:
    out = _run("""
        import sys
        import rushes
        heavy = {"torch", "diffusers", "chdb", "starlette", "sqlalchemy", "pyarrow", "numpy"}
        print(sorted(heavy & {name.split(".")[0] for name in sys.modules}))
    """)
    assert out.strip() == "[]"


def test_opentelemetrys_variables_mean_what_they_always_mean() -> None:
    out = _run("""
        import os
        os.environ |= {
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1/elsewhere",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "7",
            "OTEL_RESOURCE_ATTRIBUTES": "service.name=mine,deployment.environment=test",
            "OTEL_BSP_MAX_QUEUE_SIZE": "77",
            "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": "DELTA",
        }
        import rushes
        telemetry = rushes.configure(log_level=None)
        print(telemetry.tracers.resource.attributes["service.name"], [(a.signal, a.limit) for a in telemetry.accounts])
        from rushes.sdk.providers import _exporter_options
        print(_exporter_options("traces", None), _exporter_options("metrics", None))
        print(_exporter_options("traces", "http://127.0.0.1:4318/"))
    """)
    first, second, third = out.splitlines()
    assert first == "mine [('spans', 77)]"  # traces alone have an endpoint, so they alone are exported
    assert "timeout" not in second
    assert "endpoint" not in second
    assert second.endswith(" None")
    assert "http://127.0.0.1:4318/v1/traces" in third
