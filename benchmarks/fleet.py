"""Six hours of the specification's fleet, written to a store's folder and to Prometheus: the same samples in both.

450 pods of 8 GPUs, their schedulers, gateways, and prompt and frame checks make 66,000 series, one sample each 15 s.
`python -m benchmarks.fleet FOLDER --pods 450 --prometheus URL` writes: the engine's folder has one owner, and the
server that is measured comes afterwards.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

sys.path.append(str(Path(__file__).parent.parent / "tests"))

from prometheus_peer import Peer, Written
from rushes.catalog import METRICS, MODELS, TIERS, WORKER_STATES
from rushes.ingest.labels import series_id
from rushes.store.chdb_store import ChdbStore
from rushes.store.schema import ARROW

__all__ = ["HOURS", "Fleet"]

HOURS: Final = 6
_EVERY_S: Final = 15
_SLICE_S: Final = 900
_PER_REQUEST: Final = 2000
_GPUS: Final = 8  # of a pod
# What a step of each model consists of.
_STEPS: Final = {
    "MOCHI1": ("joint_attn", "ffn", "other", "total"),
    "LTX2": ("joint_attn", "cross_attn", "ffn", "audio", "other", "total"),
    "OPENSORA": ("spatial_attn", "temporal_attn", "cross_attn", "ffn", "other", "total"),
    "VEO3": ("total",),
}
_GPU_GAUGES: Final = {
    "gpu_utilization_percent": (55, 100),
    "gpu_memory_used_bytes": (20e9, 80e9),
    "gpu_memory_utilization_percent": (25, 100),
    "gpu_temperature_celsius": (55, 85),
    "nvlink_bandwidth_gbps": (80, 850),
}
_WHOLE: Final = ("gpu_memory_used_bytes", "gpu_worker_status", "worker_count_total", "queue_depth_total")
_REASONS: Final = ("timeout", "cuda_error", "oom", "checkpoint")
_CATEGORIES: Final = ("nsfw", "violence", "deepfake", "hate", "csam")


class _Series(NamedTuple):
    """A series and what its values are like: a counter without `low` and `high`, else a gauge between them."""

    labels: dict[str, str]
    low: float = 0.0
    high: float = 0.0
    bucket: bool = False


def _histogram(name: str, **labels: str) -> Iterator[_Series]:
    for le in (*(f"{bound:g}" for bound in METRICS[name].buckets), "+Inf"):
        yield _Series({"__name__": f"{name}_bucket", **labels, "le": le}, bucket=True)
    for end in ("sum", "count"):
        yield _Series({"__name__": f"{name}_{end}", **labels})


def _counter(name: str, **labels: str) -> _Series:
    return _Series({"__name__": name, **labels})


def _gauge(name: str, low: float, high: float, **labels: str) -> _Series:
    return _Series({"__name__": name, **labels}, low, high)


def _pod(pod: int) -> Iterator[_Series]:
    worker = f"worker-{pod}"
    where = {"job": "worker", "instance": worker}
    model = MODELS[pod % len(MODELS)]
    for step in _STEPS[model]:
        yield from _histogram("dit_inference_step_duration_ms", model=model, step_type=step, **where)
    of = {"tier": TIERS[pod // len(MODELS) % len(TIERS)], "model": model}
    yield from _histogram(
        "video_generation_duration_seconds", **of, resolution="848x480", status="completed", **where
    )
    yield _counter("video_generation_success_total", **of, **where)
    yield _counter("checkpoint_recovery_count", **of, **where)
    for reason in _REASONS:
        yield _counter("video_generation_failure_total", **of, reason=reason, **where)
    yield from _histogram("vae_decode_duration_seconds", model=model, **where)
    yield from _histogram("tensor_parallel_comm_duration_ms", model=model, **where)
    yield _counter("rushes_model_cache_hits_total", model=model, **where)
    yield _counter("rushes_model_cache_misses_total", model=model, **where)
    yield _counter("c2pa_embed_success_total", model=model, **where)
    for clip in ("5s", "10s", "30s"):
        yield _gauge("temporal_consistency_score", 0.8, 1, model=model, duration_bucket=clip, **where)
    for state in (*WORKER_STATES, "healthy"):
        yield _gauge("gpu_worker_status", 0, 1, worker_id=worker, status=state, **where)
    for gpu, (name, (low, high)) in itertools.product(range(_GPUS), _GPU_GAUGES.items()):
        of = {"worker_id": worker, "gpu_index": str(gpu), "gpu_type": "NVIDIA H100 80GB HBM3"}
        yield _gauge(name, low, high, **of, **where)


def _safety(pods: int) -> Iterator[_Series]:
    """The checks of prompts and frames."""
    for check, model in itertools.product(range(max(1, pods // 22)), MODELS):
        where = {"job": "safety", "instance": f"safety-{check}"}
        for kind in ("pregen", "postgen"):
            yield from _histogram("safety_check_duration_ms", check_type=kind, model=model, **where)
        yield from _histogram("deepfake_detection_score", model=model, **where)
    for check, category in itertools.product(range(max(1, pods // 22)), _CATEGORIES):
        of = {"category": category, "classifier": "promptguard", "job": "safety"}
        yield _counter("pregen_safety_block_total", **of, instance=f"safety-{check}")
        yield _counter("postgen_safety_block_total", **of, instance=f"safety-{check}")
    for stage in ("pregen", "postgen"):
        yield _counter("csam_detection_total", stage=stage, job="safety", instance="safety-0")
    for category in _CATEGORIES:
        yield _gauge("false_positive_rate", 0, 0.04, category=category, job="safety", instance="safety-0")


def _around(pods: int) -> Iterator[_Series]:
    """What isn't on a pod with GPUs; in proportion to those."""
    for scheduler in range(max(1, pods // 11)):
        where = {"job": "scheduler", "instance": f"scheduler-{scheduler}"}
        for tier in TIERS:
            yield from _histogram("queue_wait_duration_seconds", tier=tier, **where)
    for gateway in range(max(1, pods // 22)):
        where = {"job": "gateway", "instance": f"gateway-{gateway}"}
        for tier, model in itertools.product(TIERS, MODELS):
            yield _counter("video_generation_request_total", tier=tier, model=model, **where)
    for state in WORKER_STATES:
        yield _gauge("worker_count_total", 0, pods, status=state, job="supervisor", instance="supervisor-0")
    for tier, model, status in itertools.product(TIERS, MODELS, ("waiting", "assigned", "generating")):
        of = {"tier": tier, "model": model, "status": status}
        yield _gauge("queue_depth_total", 0, 200, **of, job="scheduler", instance="scheduler-0")


class Fleet:
    """The fleet's series in the order of the store; samples are made slice by slice, the same each time."""

    def __init__(self, pods: int, end_s: int) -> None:
        series = (each for part in (*map(_pod, range(pods)), _safety(pods), _around(pods)) for each in part)
        found = sorted(
            series, key=lambda each: each.labels["__name__"]
        )  # stable: a histogram's buckets in order
        self.end_s = end_s
        self.labels = [each.labels for each in found]
        self.names = np.array([each.labels["__name__"] for each in found])
        self._low = np.array([each.low for each in found])
        self._high = np.array([each.high for each in found])
        self._gauge = self._high > self._low
        whole = np.isin(self.names, _WHOLE)
        self._digits = np.where(whole, 1.0, 1000.0)
        # A bucket counts what those below it count too.
        bucket = np.array([each.bucket for each in found])
        first = ~bucket | (np.array([each.labels.get("le") for each in found]) == _lowest(found))
        self._first = np.maximum.accumulate(np.where(first, np.arange(len(found)), 0))
        self._bucket = bucket
        _, self._instance = np.unique([each.labels["instance"] for each in found], return_inverse=True)
        rng = np.random.default_rng(4)
        # Scrapes of different targets happen at different times of the interval, none at a step of a query.
        self._phase = rng.integers(1, _EVERY_S * 1000, self._instance.max() + 1)[self._instance]
        self._rate = rng.gamma(2.0, 0.2, len(found))
        self._total = self._cumulated(rng.uniform(1e3, 1e5, (len(found), 1)).round())[:, 0]

    def _cumulated(self, of: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """What each bucket and those below it in its histogram have together; other rows as they are."""
        running = np.vstack([np.zeros((1, of.shape[1])), np.cumsum(of, axis=0)])
        whole = running[1:] - running[self._first]
        return np.where(self._bucket[:, None], whole, of)

    def slices(self) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]]:
        """Times (milliseconds) and values, a row a series, a quarter of an hour each."""
        rng = np.random.default_rng(5)
        for begin in range(self.end_s - HOURS * 3600, self.end_s, _SLICE_S):
            at = np.arange(begin, begin + _SLICE_S, _EVERY_S) * 1000
            ts = at[None, :] + self._phase[:, None]
            more = self._cumulated(rng.poisson(self._rate[:, None], ts.shape).astype(np.float64))
            running = self._total[:, None] + np.cumsum(more, axis=1)
            # Now and then a process starts anew.
            anew = rng.random(self._instance.max() + 1) < 0.01
            self._total = np.where(anew[self._instance], 0.0, running[:, -1])
            reach = (self._high - self._low)[:, None]
            gauge = self._low[:, None] + reach * rng.random(ts.shape)
            gauge = np.rint(gauge * self._digits[:, None]) / self._digits[:, None]
            yield ts, np.where(self._gauge[:, None], gauge, running)


def _lowest(found: list[_Series]) -> npt.NDArray[np.str_]:
    """The first `le` of each series' histogram."""
    lowest = {f"{name}_bucket": f"{of.buckets[0]:g}" for name, of in METRICS.items() if of.buckets}
    return np.array([lowest.get(each.labels["__name__"], "") for each in found])


def _send(
    peer: Peer,
    labels: list[dict[str, str]],
    ts: npt.NDArray[np.int64],
    values: npt.NDArray[np.float64],
    begin: int,
) -> None:
    rows = range(begin, min(begin + _PER_REQUEST, len(labels)))
    peer.write(Written(labels[row], ts[row], values[row]) for row in rows)


def write(fleet: Fleet, folder: Path, peer: Peer | None) -> None:
    """Give the fleet's samples to the store in that folder, and by remote write to Prometheus."""
    store = ChdbStore(folder)
    names = pa.array(fleet.names.tolist())
    rest = [{name: value for name, value in each.items() if name != "__name__"} for each in fleet.labels]
    # Those of ingest, which lie anywhere: what a selector means isn't side by side.
    of_series = zip(fleet.names.tolist(), rest, strict=True)
    ids = np.array([series_id(name, labels) for name, labels in of_series], dtype=np.uint64)
    seen = [fleet.end_s] * len(rest)
    store.insert("series", pa.table([names, ids, rest, seen], schema=ARROW["series"]))
    for ts, values in fleet.slices():
        samples = ts.shape[1]
        rows = pa.table(
            [
                names.take(pa.array(np.repeat(np.arange(len(ids)), samples))),
                np.repeat(ids, samples),
                pa.array(ts.ravel()).cast(pa.timestamp("ms", "UTC")),
                values.ravel(),
            ],
            schema=ARROW["samples"],
        )
        with ThreadPoolExecutor(3) as pool:
            done = [pool.submit(store.insert, "samples", rows)]
            if peer is not None:
                done += [
                    pool.submit(_send, peer, fleet.labels, ts, values, begin)
                    for begin in range(0, len(rest), _PER_REQUEST)
                ]
        for each in done:
            each.result()
    while store.rows("SELECT count() AS running FROM system.merges")[0]["running"]:
        time.sleep(0.5)
    store.close()


def main() -> None:
    """Writes, as a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of the store")
    parser.add_argument("--pods", type=int, required=True)
    parser.add_argument("--end", type=int, required=True, help="seconds since the epoch")
    parser.add_argument("--prometheus", help="its address")
    given = parser.parse_args()
    peer = Peer(given.prometheus, 0) if given.prometheus else None
    write(Fleet(given.pods, given.end), given.folder, peer)


if __name__ == "__main__":
    main()
