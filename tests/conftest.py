"""What every test needs: undeclared telemetry raises, and OpenTelemetry has one set of providers to look into."""

from __future__ import annotations

import os

# Before anything of rushes is imported: no test may reach a model hub, nor write into a user's own folders.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["RUSHES_STRICT"] = "1"


import hypothesis
import pytest
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from recording import Recorded
from rushes.sdk import configure


@pytest.fixture(scope="session")
def _providers() -> Recorded:
    telemetry = configure(instance="test", log_level=None)
    assert telemetry.tracers is not None
    assert telemetry.loggers is not None
    recorded = Recorded(telemetry, InMemorySpanExporter(), InMemoryLogRecordExporter())
    telemetry.tracers.add_span_processor(SimpleSpanProcessor(recorded.spans))
    telemetry.loggers.add_log_record_processor(SimpleLogRecordProcessor(recorded.logs))
    return recorded


@pytest.fixture
def recorded(_providers: Recorded) -> Recorded:
    """OpenTelemetry allows one set of providers a process, so all tests share it, emptied before each."""
    _providers.spans.clear()
    _providers.logs.clear()
    return _providers


# Shared CI machines stall for seconds now and then; a slow example is no failure.
hypothesis.settings.register_profile("rushes", deadline=None)
hypothesis.settings.load_profile("rushes")
