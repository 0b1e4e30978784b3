"""Meanings of other programs' metrics: found by any of a metric's series, and for nothing else."""

from __future__ import annotations

import pytest

from rushes.catalog.foreign import FOREIGN, meaning_of
from rushes.catalog.model import Kind


@pytest.mark.parametrize(
    ("series", "metric"),
    [
        ("sglang:diffusion_request_latency_seconds_bucket", "sglang:diffusion_request_latency_seconds"),
        ("sglang:diffusion_requests_total", "sglang:diffusion_requests_total"),
        ("sglang:diffusion_requests", "sglang:diffusion_requests_total"),
        ("vllm_omni:num_requests_waiting", "vllm_omni:num_requests_waiting"),
        ("vllm:omni_e2e_request_latency_s_sum", "vllm:omni_e2e_request_latency_s"),
        (
            "tt_media_server_video_denoise_duration_seconds_count",
            "tt_media_server_video_denoise_duration_seconds",
        ),
    ],
)
def test_every_series_of_a_metric_has_its_meaning(series: str, metric: str) -> None:
    found = meaning_of(series)
    assert found is not None
    assert found.name == metric


@pytest.mark.parametrize(
    "metric", ["", "up", "vllm_omni:invented", "sglang:diffusion_num_queue_reqs_bucket", "tt_media_server_"]
)
def test_nothing_is_invented(metric: str) -> None:
    assert meaning_of(metric) is None


def test_names_units_and_kinds_go_together() -> None:
    for name, of in FOREIGN.items():
        assert name == of.name
        assert of.help[0].isupper()
        assert not of.help.endswith(".")
        assert (of.kind is Kind.COUNTER) == name.endswith("_total"), name
        assert (of.unit == "s") == name.endswith(("_s", "_seconds")), name
