"""A bill into metrics and onto the root span; what is not known stays away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast

from rushes.catalog import Tier
from rushes.sdk import instruments

if TYPE_CHECKING:
    from rushes.studio.cost.attempt import Attempt, Bill

__all__ = ["count", "figures"]


def count(bill: Bill) -> None:
    """Adds what is not told yet to the counters."""
    for attempt in bill.attempts:
        seconds = attempt.untold_s
        if seconds <= 0:
            continue
        if attempt.device_kind != "provider":
            _count_compute(bill, attempt, seconds)
        if attempt.usd_per_second is not None:
            instruments.rushes_compute_cost_usd_total.add(
                seconds * attempt.usd_per_second,
                tier=cast("Tier", attempt.tier),
                model=attempt.model,
                device_kind=attempt.device_kind,
                outcome=bill.outcome,
            )


def _count_compute(bill: Bill, attempt: Attempt, seconds: float) -> None:
    kind: Literal["gpu", "cpu"] = "cpu" if attempt.device_kind == "cpu" else "gpu"
    instruments.rushes_compute_seconds_total.add(
        seconds,
        tier=cast("Tier", attempt.tier),
        model=attempt.model,
        device_kind=kind,
        outcome=bill.outcome,
    )
    for cause, wasted in bill.waste(attempt, since_ns=attempt.told_ns):
        instruments.rushes_wasted_compute_seconds_total.add(wasted, device_kind=kind, cause=cause)


def figures(bill: Bill) -> dict[str, float | int]:
    """The root span's attributes; none for a job that no worker had."""
    if not bill.attempts:
        return {}
    found: dict[str, float | int] = {
        "rushes.attempts": sum(a.role != "provider" for a in bill.attempts),
        "rushes.compute_seconds": round(bill.compute_s, 6),
        "rushes.wasted_compute_seconds": round(bill.wasted_s, 6),
    }
    if bill.usd is not None:
        found["rushes.compute_cost_usd"] = bill.usd
    return found
