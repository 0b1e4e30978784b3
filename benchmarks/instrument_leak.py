"""Whether memory stays flat: 10,000 instrumented calls of a small pipeline, one in ten of which fails.

Not among `make bench`: `.venv/bin/python -m benchmarks instrument_leak` runs it, in about four minutes. The pipeline
is the small OPENSORA's network and decoder, with every sub-module of every step measured; spans go to a batch
processor and metrics are collected, as they are in production, to exporters that drop them.
"""

from __future__ import annotations

import contextlib
import gc
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import psutil
import torch

from benchmarks.instrument_cost import Nowhere
from rushes.instrument import instrument, report, uninstrument
from rushes.sdk import configure, exposition
from rushes.sdk.accounting import Account, AccountedSpans
from rushes.studio.models import small
from rushes.studio.models.offline import libraries

__all__ = ["measure"]

_CALLS = 10_000
_EVERY = 1_000
_FAILS = 10


class Stop(Exception):  # noqa: N818 - no error, a request
    """What the callback of one call in ten raises."""


def _stop(*_: Any) -> None:
    raise Stop


def measure() -> list[tuple[str, str]]:
    """Resident memory after every thousandth call, printed as it goes."""
    warnings.filterwarnings("ignore")
    diffusers, _ = libraries()
    telemetry = configure(log_level=None)
    assert telemetry.tracers is not None
    account = Account("spans", 8192)
    telemetry.tracers.add_span_processor(AccountedSpans(Nowhere(), account, delay_ms=500))
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        pipe = diffusers.LattePipeline.from_pretrained(str(small.build("OPENSORA", Path(folder))))
    pipe.set_progress_bar_config(disable=True)
    with torch.no_grad():
        text = pipe.encode_prompt("a cat", negative_prompt="", clean_caption=False)
    call = {
        "prompt": None,
        "negative_prompt": None,
        "prompt_embeds": text[0],
        "negative_prompt_embeds": text[1],
        "video_length": 16,
        "height": 16,
        "width": 16,
        "num_inference_steps": 2,
        "output_type": "pt",
    }
    instrument(pipe, sample_every=1)
    process, rows = psutil.Process(), []
    begun = time.monotonic()
    for index in range(_CALLS + 1):
        with contextlib.suppress(Stop):
            pipe(**call, callback_on_step_end=_stop if index % _FAILS == _FAILS - 1 else None)
        if index % _EVERY == 0:
            gc.collect()
            exposition()
            rows.append((f"RSS after {max(index, 1):,} calls", f"{process.memory_info().rss / 1e6:.1f} MB"))
            print(*rows[-1], f"{time.monotonic() - begun:.0f} s", flush=True)
    uninstrument(pipe)
    print(report())
    dropped = sum(n for n, _ in account.dropped())
    return [*rows, ("spans that found the queue full", str(int(dropped)))]
