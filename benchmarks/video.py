"""A video's time from the request to the stored file, and the share of it that its trace accounts for."""

from __future__ import annotations

import statistics
import time

import httpx

from benchmarks.running import running

__all__ = ["measure"]

_VIDEOS = 5


def measure() -> list[tuple[str, str]]:
    """Medians over several videos of each small model."""
    rows = []
    with running() as up:
        local = up.local()
        up.loaded_after()
        headers = {"Authorization": f"Bearer {local['api_key']}"}
        with httpx.Client(base_url=local["gateway"], headers=headers) as client:
            for model in ("MOCHI1", "LTX2", "OPENSORA"):
                seconds = [_make(client, model) for _ in range(_VIDEOS + 1)][1:]  # the first one warms up
                rows.append(
                    (
                        f"{model}, request to stored, median of {_VIDEOS}",
                        f"{statistics.median(seconds):.2f} s",
                    )
                )
        time.sleep(2)  # the last spans are sent after the video is stored
        query = "/api/videos?limit=15"
        ratios = [
            v["attributed_ratio"] for v in httpx.get(up.ui + query).json()["videos"] if v["attributed_ratio"]
        ]
    rows.append(("share of the root's time that stages account for, least of 15", f"{min(ratios):.1%}"))
    return rows


def _make(client: httpx.Client, model: str) -> float:
    begun = time.monotonic()
    video = client.post("/v1/videos", json={"model": model, "prompt": "a red ball"}).json()
    while video["status"] not in {"completed", "failed"}:
        time.sleep(0.01)
        video = client.get(f"/v1/videos/{video['id']}").json()
    if video["status"] == "failed":
        raise RuntimeError(video["error"]["message"])
    return time.monotonic() - begun
