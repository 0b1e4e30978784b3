"""The four dashboards' PromQL over six hours of a fleet, by Rushes and by Prometheus, on the same samples.

The fleet is the specification's, of 66,000 series: 95 million samples, some minutes to write; `--pods 45` is a tenth of
it. Prometheus is written to by remote write, the store directly; then every query is asked of both in turn, over HTTP,
in processes of their own. `--folder` keeps the samples for the next time.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from benchmarks.fleet import HOURS, Fleet
from benchmarks.fleet_dashboards import Ask, asks
from benchmarks.servers import Server, rushes_server

sys.path.append(str(Path(__file__).parent.parent / "tests"))

from prometheus_peer import PROMETHEUS, Peer, started

__all__ = ["measure"]

_PODS: Final = 450
_RUNS: Final = 3
_NEAR: Final = 1e-9


@dataclass(slots=True)
class _Taken:
    """Milliseconds of the clock and of the processor for each query, Rushes' and Prometheus'."""

    wall: list[list[float]] = field(default_factory=lambda: [[], []])
    cpu: list[list[float]] = field(default_factory=lambda: [[], []])

    def medians(self) -> list[float]:
        return [statistics.median(each) if each else math.nan for each in (*self.wall, *self.cpu)]


def measure(arguments: Sequence[str] = ()) -> list[tuple[str, str]]:
    """p50 of every query in milliseconds, Rushes' and Prometheus', their ratio, and the sums by dashboard."""
    given = _parser().parse_args(arguments)
    with contextlib.ExitStack() as stack:
        folder = given.folder or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="rushes-promql-"))
        )
        end_s, pods = _written(folder, given.pods)
        if given.write_only:
            return []
        peer = stack.enter_context(started(folder / "prometheus")) if PROMETHEUS is not None else None
        server = stack.enter_context(rushes_server(folder / "rushes"))
        return _asked(pods, end_s, server, peer, given)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pods", type=int, default=_PODS, help="450 is the specification's fleet")
    parser.add_argument("--runs", type=int, default=_RUNS)
    parser.add_argument("--folder", type=Path, help="where samples are, or are to be kept; up to a week old")
    parser.add_argument("--write-only", action="store_true", help="write the samples and ask nothing")
    parser.add_argument("--dashboard", help="only this one's queries")
    return parser


def _written(folder: Path, pods: int) -> tuple[int, int]:
    """When the samples in the folder end and of how many pods they are; written there unless they were before."""
    note = folder / "fleet.json"
    if note.exists():
        told = json.loads(note.read_text())
        return told["end_s"], told["pods"]
    end_s = int(time.time()) // 3600 * 3600
    (folder / "prometheus").mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        command = [sys.executable, "-m", "benchmarks.fleet", str(folder / "rushes" / "telemetry")]
        command += ["--pods", str(pods), "--end", str(end_s)]
        if PROMETHEUS is not None:
            command += ["--prometheus", stack.enter_context(started(folder / "prometheus")).url]
        subprocess.run(command, check=True)
    note.write_text(json.dumps({"end_s": end_s, "pods": pods}))
    return end_s, pods


def _asked(
    pods: int, end_s: int, server: Server, peer: Peer | None, given: argparse.Namespace
) -> list[tuple[str, str]]:
    ours = Peer(server.urls["ui"], server.process.pid)
    series = len(Fleet(pods, end_s).labels)
    rows = [("series, samples", f"{series:,}, {series * HOURS * 240:,}")]
    server.idle()
    sums: dict[str, list[float]] = {}
    slower, worst, count = 0, 0.0, 0
    for ask in asks(end_s):
        if given.dashboard not in (None, ask.dashboard):
            continue
        taken, answers = _Taken(), list[Any]()
        for _ in range(given.runs):
            answers = [_timed(which, ask, taken, at) for at, which in enumerate((ours, peer)) if which]
        medians = taken.medians()
        for name in (ask.dashboard, "all"):
            sums[name] = [a + b for a, b in zip(sums.get(name, [0.0] * 4), medians, strict=True)]
        count += 1
        how = "line" if ask.step_s else "number"
        text = _figures(medians[:2], peer)
        if peer is not None:
            slower += medians[0] > medians[1]
            apart = _apart(answers[0], answers[1])
            worst = max(worst, apart)
            if apart > _NEAR:
                text += f"; **answers differ** by {apart:.1e}"
        rows.append((f"{ask.dashboard}, {ask.panel} ({how}): `{ask.expr}`", text))
    for name, of in sums.items():
        what = f"all of {name}" if name != "all" else f"all {count} queries"
        rows.append((what, f"{_figures(of[:2], peer)}; processor {_figures(of[2:], peer)}"))
    if peer is not None:
        rows.append(("queries that take Rushes longer", f"{slower} of {count}"))
        rows.append(("largest relative difference of any two values", f"{worst:.1e}"))
        rows.append(
            ("RSS after it, Prometheus", f"{psutil.Process(peer.pid).memory_info().rss / 1e6:.0f} MB")
        )
    rows.append(("RSS after it, Rushes", f"{server.rss_mb():.0f} MB"))
    ours.close()
    return rows


def _timed(which: Peer, ask: Ask, taken: _Taken, at: int) -> Any:
    """The answer; what it took is noted at that place."""
    process = psutil.Process(which.pid)
    before, begun = process.cpu_times(), time.perf_counter()
    if ask.step_s:
        answer = which.get("query_range", query=ask.expr, start=ask.start_s, end=ask.end_s, step=ask.step_s)
    else:
        answer = which.get("query", query=ask.expr, time=ask.end_s)
    taken.wall[at].append((time.perf_counter() - begun) * 1000)
    after = process.cpu_times()
    taken.cpu[at].append((after.user + after.system - before.user - before.system) * 1000)
    if answer["status"] != "success":
        raise RuntimeError(f"{ask.expr}: {answer['error']}")
    return answer["data"]["result"]


def _apart(ours: list[Any], theirs: list[Any]) -> float:
    """The largest relative difference of two values; infinite where one has what the other lacks."""
    mine, others = (
        {
            (tuple(sorted(each["metric"].items())), at): float(value)
            for each in result
            for at, value in each.get("values") or [each["value"]]
        }
        for result in (ours, theirs)
    )
    if mine.keys() != others.keys():
        return math.inf
    return max((_difference(mine[key], others[key]) for key in mine), default=0.0)


def _difference(a: float, b: float) -> float:
    if a == b or (math.isnan(a) and math.isnan(b)):
        return 0.0
    return abs(a - b) / max(abs(a), abs(b)) if math.isfinite(a) and math.isfinite(b) else math.inf


def _figures(of: Sequence[float], peer: Peer | None) -> str:
    if peer is None:
        return f"{of[0]:.0f} ms (prometheus is not installed)"
    return f"{of[0]:.0f} ms, Prometheus {of[1]:.0f} ms, ratio {of[0] / of[1] if of[1] else math.nan:.2f}"
