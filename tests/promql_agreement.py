"""Asks Prometheus and Rushes the same and says where they differ."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from prometheus_peer import Peer
from promql_dataset import START_S
from rushes.query.promql import PromQL, PromQLError, QueryResult

__all__ = ["Both", "close"]

_RELATIVE = 1e-9
_TINY = 1e-12  # differences of large numbers leave dust that neither is right about

Samples = dict[tuple[tuple[str, str], ...], list[tuple[float, Any]]]


@dataclass(frozen=True, slots=True)
class Both:
    """The same samples in each."""

    peer: Peer
    promql: PromQL
    experimental: PromQL
    origin_s: float = START_S

    def instant(self, expr: str, seconds: float = 3007) -> str:
        """What differs in the answers to one query at a time after the start; empty if nothing does."""
        theirs = self.peer.get("query", query=expr, time=self.origin_s + seconds)
        try:
            ours = self.promql.instant(expr, self.origin_s + seconds)
        except PromQLError as error:
            return _errors(theirs, error)
        return _difference(theirs, ours)

    def range(self, expr: str, start: float = 307, end: float = 4507, step: float = 60) -> str:
        """Likewise over steps."""
        theirs = self.peer.get(
            "query_range", query=expr, start=self.origin_s + start, end=self.origin_s + end, step=step
        )
        try:
            ours = self.promql.range(expr, self.origin_s + start, self.origin_s + end, step)
        except PromQLError as error:
            return _errors(theirs, error)
        return _difference(theirs, ours)

    def ordered(self, expr: str, seconds: float = 3007) -> tuple[list[Any], list[Any]]:
        """Labels in the order of each one's answer to an instant query."""
        theirs = self.peer.get("query", query=expr, time=self.origin_s + seconds)["data"]["result"]
        ours = self.promql.instant(expr, self.origin_s + seconds).series
        return [each["metric"] for each in theirs], [each.labels for each in ours]

    def messages(self, expr: str, seconds: float = 3007, *, experimental: bool = False) -> tuple[str, str]:
        """Both errors, type and text."""
        promql = self.experimental if experimental else self.promql
        theirs = self.peer.get("query", query=expr, time=self.origin_s + seconds)
        try:
            promql.instant(expr, self.origin_s + seconds)
        except PromQLError as error:
            # What the query's fault is called in a request is the API's part.
            where = 'invalid parameter "query": ' if error.error_type == "bad_data" else ""
            mine = f"{error.error_type}: {where}{error.message}"
        else:
            mine = "no error"
        return f"{theirs.get('errorType')}: {theirs.get('error')}", mine


def _errors(theirs: dict[str, Any], error: PromQLError) -> str:
    if theirs["status"] == "error" and theirs["errorType"] == error.error_type:
        return ""
    return f"Prometheus: {str(theirs)[:300]}; Rushes: {error.error_type}: {error.message}"


def _difference(theirs: dict[str, Any], ours: QueryResult) -> str:
    if theirs["status"] != "success":
        return f"Prometheus: {theirs['errorType']}: {theirs['error']}; Rushes: {str(ours)[:300]}"
    data = theirs["data"]
    if data["resultType"] != ours.kind:
        return f"Prometheus: {data['resultType']}; Rushes: {ours.kind}"
    if ours.kind == "string":
        return "" if data["result"][1] == ours.text else f"{data['result'][1]!r} != {ours.text!r}"
    return _of_samples(_theirs(data), _ours(ours))


def _of_samples(left: Samples, right: Samples) -> str:
    if left.keys() != right.keys():
        return f"only Prometheus: {left.keys() - right.keys()}; only Rushes: {right.keys() - left.keys()}"
    for key, samples in left.items():
        times = {at for at, _ in samples} ^ {at for at, _ in right[key]}
        if times:
            return f"{key}: times differ: {sorted(times)[:5]}"
        for (at, a), (_, b) in zip(samples, right[key], strict=True):
            if not close(a, b):
                return f"{key} at {at - START_S}: Prometheus {a!r}, Rushes {b!r}"
    return ""


def close(a: Any, b: Any) -> bool:
    """Equal as far as floats are: not-a-number is itself, everything else within 1e-9 of itself."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(close(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, list) or isinstance(b, list):
        return False
    if math.isnan(a) or math.isnan(b):
        return math.isnan(a) and math.isnan(b)
    return a == b or math.isclose(a, b, rel_tol=_RELATIVE, abs_tol=_TINY)


def _theirs(data: dict[str, Any]) -> Samples:
    result = data["result"]
    if data["resultType"] == "scalar":
        return {(): [(result[0], float(result[1]))]}
    found: Samples = {}
    for each in result:
        samples: list[tuple[float, Any]] = [
            (at, float(value)) for at, value in each.get("values", [each["value"]] if "value" in each else [])
        ]
        histograms = each.get("histograms", [each["histogram"]] if "histogram" in each else [])
        samples += [(at, _buckets(histogram)) for at, histogram in histograms]
        key = tuple(sorted(each["metric"].items()))
        if key in found:
            raise AssertionError(f"Prometheus has {key} twice")
        found[key] = sorted(samples, key=lambda sample: sample[0])
    return found


def _buckets(histogram: dict[str, Any]) -> list[Any]:
    buckets = [[float(number) for number in bucket[1:]] for bucket in histogram.get("buckets", [])]
    return [float(histogram["count"]), float(histogram["sum"]), buckets]


def _ours(result: QueryResult) -> Samples:
    found: Samples = {}
    for each in result.series:
        histograms = each.histograms or [None] * len(each.values)
        samples = []
        for at, value, histogram in zip(each.timestamps, each.values, histograms, strict=True):
            sample: Any = value
            if histogram is not None:
                sides = (side.tolist() for side in histogram.buckets())
                sample = [
                    histogram.count,
                    histogram.sum,
                    [list(bucket) for bucket in zip(*sides, strict=True)],
                ]
            samples.append((at, sample))
        key = tuple(sorted(each.labels.items()))
        if key in found:
            raise AssertionError(f"Rushes has {key} twice")
        found[key] = samples
    return found
