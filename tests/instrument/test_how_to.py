"""The page "Instrument your own service": its code runs as it stands, but for weights and size."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from recording import Recorded
from rushes.catalog import METRICS, SPANS
from rushes.instrument import uninstrument
from rushes.studio.models import small

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "instrument-your-service.md").read_text()


def test_its_code_runs(checkpoints: Path, recorded: Recorded, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) == 3
    scope: dict[str, Any] = {}
    for block in blocks:
        folder = str(small.build("OPENSORA", checkpoints))
        code = block.replace('"maxin-cn/Latte-1"', repr(folder)).replace("512", "32").replace("=20", "=3")
        exec(compile(code, "how-to", "exec"), scope)  # noqa: S102 - our own page
    uninstrument(scope["pipe"])
    printed = capsys.readouterr().out
    assert "Where the time of Latte went" in printed
    assert "temporal_attn" in printed
    assert len(scope["video"].frames[0]) == 16
    names = [s.name for s in recorded.spans.get_finished_spans()]
    assert names.count("video_generation_request") == 2
    assert scope["mine"].kind_of("blocks.3.attn_time") == "temporal_attn"


def test_the_names_it_gives_exist() -> None:
    quoted = set(re.findall(r"`([a-z0-9_.]+)(?:\{[a-z_,]+\})?`", PAGE))
    metrics = {
        name for name in quoted if name.endswith(("_seconds", "_ms", "_ratio")) and "rushes." not in name
    }
    assert metrics == {
        "dit_inference_step_duration_ms",
        "vae_decode_duration_seconds",
        "audio_generation_duration_seconds",
        "rushes_cache_hit_ratio",
        "tensor_parallel_comm_duration_ms",
    }
    assert metrics <= set(METRICS)
    assert {name for name in quoted if name.endswith(("_attn", "_upsample", "_loop"))} <= set(SPANS)
