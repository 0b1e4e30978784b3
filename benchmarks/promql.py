"""The Operations dashboard's PromQL over six hours of a fleet, by Rushes and by Prometheus, on the same samples.

The fleet is the specification's (450 pods, 66,000 series at full size): `python -m benchmarks.promql --pods 450`. The
default is a tenth of it. Both are written to first, Prometheus by remote write, the store directly; then every query
is asked of both in turn. Prometheus answers over HTTP, Rushes in this process.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import psutil
import pyarrow as pa

sys.path.append(str(Path(__file__).parent.parent / "tests"))

from prometheus_peer import PROMETHEUS, Peer, Written, started
from promql_agreement import Both
from rushes.catalog import METRICS, MODELS, TIERS, WORKER_STATES
from rushes.dashboards import OPERATIONS
from rushes.dashboards.panel import Kind
from rushes.query.promql import PromQL
from rushes.store.chdb_store import ChdbStore
from rushes.store.schema import ARROW
from rushes.web.timerange import TimeRange

__all__ = ["measure"]

_END_S = 1_767_247_200
_HOURS = 6
_EVERY_S = 15
_SLICE_S = 900
_RUNS = 5
_PODS = 45
_STEPS = ("spatial_attn", "temporal_attn", "cross_attn", "ffn", "joint_attn", "audio", "other", "total")


@dataclass(frozen=True, slots=True)
class Ask:
    """One query of the dashboard; an instant one has a step of 0."""

    panel: str
    expr: str
    start_s: float
    end_s: float
    step_s: float


def _histogram(name: str, **labels: str) -> Iterator[tuple[dict[str, str], bool]]:
    for le in (*(f"{bound:g}" for bound in METRICS[name].buckets), "+Inf"):
        yield {"__name__": f"{name}_bucket", **labels, "le": le}, True
    for end in ("sum", "count"):
        yield {"__name__": f"{name}_{end}", **labels}, True


def _pod(pod: int) -> Iterator[tuple[dict[str, str], bool]]:
    where = {"job": "worker", "instance": f"worker-{pod}"}
    model = MODELS[pod % len(MODELS)]
    for step in _STEPS:
        yield from _histogram("dit_inference_step_duration_ms", model=model, step_type=step, **where)
    for tier in ("premium", "standard"):
        of = {"tier": tier, "model": model, "resolution": "848x480", "status": "completed"}
        yield from _histogram("video_generation_duration_seconds", **of, **where)
    yield from _histogram("vae_decode_duration_seconds", model=model, **where)
    for tier in TIERS:
        of = {"tier": tier, "model": model, **where}
        yield {"__name__": "video_generation_success_total", **of}, True
        yield {"__name__": "video_generation_request_total", **of}, True
        yield {"__name__": "video_generation_failure_total", "reason": "oom", **of}, True
    for state in (*WORKER_STATES, "healthy"):
        yield {"__name__": "gpu_worker_status", "worker_id": f"worker-{pod}", "status": state, **where}, False


def _labels(pods: int) -> Iterator[tuple[dict[str, str], bool]]:
    """Every series of the fleet, and whether it is a counter."""
    for pod in range(pods):
        yield from _pod(pod)
    for scheduler in range(max(1, pods * 2 // 9)):
        where = {"job": "scheduler", "instance": f"scheduler-{scheduler}"}
        for tier in TIERS:
            yield from _histogram("queue_wait_duration_seconds", tier=tier, **where)
    for state in WORKER_STATES:
        yield {"__name__": "worker_count_total", "status": state, "job": "supervisor"}, False
    for tier, model, status in itertools.product(TIERS, MODELS, ("waiting", "assigned", "generating")):
        of = {"tier": tier, "model": model, "status": status}
        yield {"__name__": "queue_depth_total", **of, "job": "scheduler"}, False


class Fleet:
    """The fleet's series in the order of the store; samples are made slice by slice, the same each time."""

    def __init__(self, pods: int) -> None:
        found = sorted(_labels(pods), key=lambda each: each[0]["__name__"])
        self.labels = [labels for labels, _ in found]
        self.names = np.array([labels["__name__"] for labels in self.labels])
        self.counters = np.array([counter for _, counter in found])
        rng = np.random.default_rng(4)
        # Scrapes of different targets happen at different times of the interval.
        self._phase = rng.integers(0, _EVERY_S * 1000, len(found))
        self._rate = rng.gamma(2.0, 0.2, len(found))
        self._total = rng.uniform(1e3, 1e6, len(found))

    def slices(self) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]]:
        """Times (milliseconds) and values, a row a series, a quarter of an hour each."""
        rng = np.random.default_rng(5)
        for begin in range(_END_S - _HOURS * 3600, _END_S, _SLICE_S):
            at = np.arange(begin, begin + _SLICE_S, _EVERY_S) * 1000
            ts = at[None, :] + self._phase[:, None]
            more = rng.poisson(self._rate[:, None], ts.shape).astype(np.float64)
            running = self._total[:, None] + np.cumsum(more, axis=1)
            self._total = np.where(rng.random(len(self.labels)) < 0.01, 0.0, running[:, -1])
            yield ts, np.where(self.counters[:, None], running, more)


def _write(fleet: Fleet, store: ChdbStore, peer: Peer | None) -> None:
    ids = np.arange(1, len(fleet.labels) + 1, dtype=np.uint64)
    rest = [{name: value for name, value in each.items() if name != "__name__"} for each in fleet.labels]
    seen = [_END_S] * len(rest)
    store.insert("series", pa.table([fleet.names, ids, rest, seen], schema=ARROW["series"]))
    for ts, values in fleet.slices():
        samples = ts.shape[1]
        store.insert(
            "samples",
            pa.table(
                [
                    pa.array(np.repeat(fleet.names, samples)),
                    np.repeat(ids, samples),
                    pa.array(ts.ravel()).cast(pa.timestamp("ms", "UTC")),
                    values.ravel(),
                ],
                schema=ARROW["samples"],
            ),
        )
        if peer is not None:
            for begin in range(0, len(rest), 2000):
                rows = range(begin, min(begin + 2000, len(rest)))
                peer.write(Written(fleet.labels[row], ts[row], values[row]) for row in rows)
    while store.rows("SELECT count() AS running FROM system.merges")[0]["running"]:
        time.sleep(0.5)


def _asked() -> list[Ask]:
    """What the page asks for the whole range: each panel's numbers and lines."""
    over = TimeRange(_END_S - _HOURS * 3600, _END_S)
    step = over.step_s
    found = []
    for panel in OPERATIONS.panels:
        for query in panel.queries:
            expr = query.expr.replace("$__rate_interval", f"{over.rate_s}s")
            expr = expr.replace("$__range", f"{_HOURS * 3600}s")
            if panel.kind is Kind.PLOT:
                found.append(Ask(panel.id, expr, over.start_s + over.rate_s, over.end_s, step))
            else:
                found.append(Ask(panel.id, expr, over.end_s, over.end_s, 0))
    return found


def _seconds(ask: Ask, promql: PromQL | None, peer: Peer | None) -> float:
    begun = time.perf_counter()
    if promql is not None and ask.step_s:
        promql.range(ask.expr, ask.start_s, ask.end_s, ask.step_s)
    elif promql is not None:
        promql.instant(ask.expr, ask.end_s)
    elif peer is not None and ask.step_s:
        peer.get("query_range", query=ask.expr, start=ask.start_s, end=ask.end_s, step=ask.step_s)
    elif peer is not None:
        peer.get("query", query=ask.expr, time=ask.end_s)
    return time.perf_counter() - begun


def measure(pods: int = _PODS, runs: int = _RUNS) -> list[tuple[str, str]]:
    """p50 of every query of the dashboard in milliseconds, Rushes and Prometheus, and their ratio."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="rushes-promql-") as folder, contextlib.ExitStack() as stack:
        store = ChdbStore(Path(folder) / "store", retention_s=20 * 365 * 86_400)
        stack.callback(store.close)
        peer = None
        if PROMETHEUS is not None:
            prometheus = Path(folder) / "prometheus"
            prometheus.mkdir()
            peer = stack.enter_context(started(prometheus))
        fleet = Fleet(pods)
        _write(fleet, store, peer)
        promql = PromQL(store)
        rows.append(("series, samples", f"{len(fleet.labels):,}, {len(fleet.labels) * _HOURS * 240:,}"))
        ours_all, theirs_all, cpu_all = 0.0, 0.0, np.zeros(2)
        for ask in _asked():
            ours, theirs = [], []
            for _ in range(runs):
                before = _cpu(peer)
                ours.append(_seconds(ask, promql, None) * 1000)
                theirs.append(_seconds(ask, None, peer) * 1000)
                cpu_all += (_cpu(peer) - before) / runs
            mine, other = statistics.median(ours), statistics.median(theirs)
            ours_all, theirs_all = ours_all + mine, theirs_all + other
            rows.append((f"{ask.panel}: `{ask.expr}`", _figures(mine, other, peer)))
            difference = _difference(ask, promql, peer)
            if difference:
                rows.append((f"{ask.panel} differs", difference))
        rows.append(("the whole dashboard", _figures(ours_all, theirs_all, peer)))
        rows.append(("the whole dashboard, CPU time", _figures(cpu_all[0] * 1000, cpu_all[1] * 1000, peer)))
    return rows


def _cpu(peer: Peer | None) -> npt.NDArray[np.float64]:
    """CPU seconds so far, of this process and of Prometheus: what a busy machine says more truly than a clock."""
    theirs = psutil.Process(peer.pid).cpu_times() if peer is not None else None
    return np.array([time.process_time(), theirs.user + theirs.system if theirs is not None else 0.0])


def _difference(ask: Ask, promql: PromQL, peer: Peer | None) -> str:
    """Whether both said the same, so that nothing wrong is called fast."""
    if peer is None:
        return ""
    both = Both(peer, promql, promql, origin_s=0)
    if ask.step_s:
        return both.range(ask.expr, ask.start_s, ask.end_s, ask.step_s)
    return both.instant(ask.expr, ask.end_s)


def _figures(ours: float, theirs: float, peer: Peer | None) -> str:
    if peer is None:
        return f"{ours:.1f} ms (prometheus is not installed)"
    return f"{ours:.1f} ms, Prometheus {theirs:.1f} ms, ratio {ours / theirs:.2f}"


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pods", type=int, default=_PODS, help="450 is the specification's fleet")
    parser.add_argument("--runs", type=int, default=_RUNS)
    given = parser.parse_args()
    print("| promql | |\n|---|---|")
    for what, figure in measure(given.pods, given.runs):
        print(f"| {what} | {figure} |")


if __name__ == "__main__":
    main()
