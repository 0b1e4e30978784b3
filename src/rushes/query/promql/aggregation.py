"""Aggregations over series: sum, avg, min, max, count, group, topk, bottomk, quantile."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rushes.query.promql.model import NAME, Floats, Labels, Vector, key_of, unsupported
from rushes.query.promql.ranges import quantile_of

__all__ = ["aggregate"]


def aggregate(
    operator: str, of: Vector, parameter: Floats | None, names: Sequence[str], *, without: bool
) -> Vector:
    """Aggregate series into groups.

    Args:
        operator: PromQL's name of it.
        of: what is aggregated.
        parameter: k of topk and bottomk, the quantile of quantile, one a step.
        names: the labels of `by` or `without`.
        without: whether `names` are dropped rather than kept.

    Raises:
        PromQLError: the operator isn't known.
    """
    dropped = {*names, NAME}
    groups: dict[tuple[tuple[str, str], ...], list[int]] = {}
    labels: list[Labels] = []
    for row, of_row in enumerate(of.labels):
        if without:
            kept = {name: value for name, value in of_row.items() if name not in dropped}
        else:
            kept = {name: of_row[name] for name in names if name in of_row}
        key = key_of(kept)
        if key not in groups:
            groups[key] = []
            labels.append(kept)
        groups[key].append(row)
    members = list(groups.values())
    if operator in ("topk", "bottomk") and parameter is not None:
        return _ranked(of, members, parameter, largest=operator == "topk")
    if operator == "quantile" and parameter is not None:
        return _quantile(of, members, labels, parameter)
    return _reduced(operator, of, members, labels)


def _reduced(operator: str, of: Vector, members: list[list[int]], labels: list[Labels]) -> Vector:
    if operator not in ("sum", "avg", "min", "max", "count", "group"):
        raise unsupported(f"aggregation {operator}")
    if not members:
        return Vector.empty(of.values.shape[1])
    order = np.array([row for rows in members for row in rows])
    starts = np.cumsum([0, *(len(rows) for rows in members[:-1])])
    values, there = of.values[order], of.present[order]
    counts = np.add.reduceat(there.astype(np.float64), starts, axis=0)
    present = counts > 0
    match operator:
        case "count":
            result = counts
        case "group":
            result = np.ones(counts.shape)
        case "min":
            result = np.fmin.reduceat(np.where(there, values, np.nan), starts, axis=0)
        case "max":
            result = np.fmax.reduceat(np.where(there, values, np.nan), starts, axis=0)
        case _:
            with np.errstate(all="ignore"):
                result = np.add.reduceat(np.where(there, values, 0.0), starts, axis=0)
                if operator == "avg":
                    result = result / counts
    return Vector(labels, result, present)


def _quantile(of: Vector, members: list[list[int]], labels: list[Labels], quantile: Floats) -> Vector:
    steps = of.values.shape[1]
    values, present = np.full((len(members), steps), np.nan), np.zeros((len(members), steps), dtype=bool)
    for number, rows in enumerate(members):
        there = of.present[rows]
        present[number] = there.any(axis=0)
        for step in np.flatnonzero(present[number]).tolist():
            chosen = of.values[rows, step][there[:, step]]
            values[number, step] = quantile_of(float(quantile[step]), chosen)
    return Vector(labels, values, present)


def _ranked(of: Vector, members: list[list[int]], k: Floats, *, largest: bool) -> Vector:
    """The series themselves, where they are among the k first of their group; best first at a single step."""
    sign = -1.0 if largest else 1.0
    present = np.zeros(of.present.shape, dtype=bool)
    wanted = np.nan_to_num(k, nan=0.0, posinf=1e9, neginf=0.0)[None, :]
    best: list[int] = []
    for rows in members:
        values, there = of.values[rows], of.present[rows]
        order = np.lexsort((sign * values, np.isnan(values), ~there), axis=0)
        rank = np.argsort(order, axis=0)
        present[rows] = there & (rank + 1 <= wanted)
        best += [rows[place] for place in order[:, 0].tolist()]
    return Vector([of.labels[row] for row in best], of.values[best], present[best])
