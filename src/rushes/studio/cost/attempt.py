"""One attempt's device time and all attempts' bill: plain arithmetic, so that it can be tried on paper."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

__all__ = ["Attempt", "Bill", "Cause", "Outcome", "Role"]

Role: TypeAlias = Literal["encode", "generate", "provider"]
Outcome: TypeAlias = Literal["completed", "failed", "blocked", "cancelled"]
Cause: TypeAlias = Literal["retry", "recovery", "cancelled", "failed", "blocked", "cold_load", "hung"]
DeviceKind: TypeAlias = Literal["gpu", "cpu", "provider"]

_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One time that a worker had a job; or, in the role `provider`, the seconds of video that a provider bills.

    Attributes:
        number: the job's `attempt` at that time; 0 for a provider's bill.
        usd_per_second: the device's price; None where none is set.
        end_ns: Unix nanoseconds of its last sign of life. A lost worker's may be a second late.
        kept_ns: the work until then is in a checkpoint that a later attempt went on from; before the start for none.
        told_ns: up to where the metrics have counted it.
        cause: why it came to nothing, where somebody has said so.
    """

    job_id: str
    number: int
    role: Role
    tier: str
    model: str
    device: str
    device_kind: DeviceKind
    usd_per_second: float | None
    start_ns: int
    end_ns: int
    kept_ns: int = 0
    told_ns: int = 0
    cause: Cause | None = None

    @property
    def seconds(self) -> float:
        """How long it had the device."""
        return (self.end_ns - self.start_ns) / _NS

    @property
    def untold_s(self) -> float:
        """How much of that no metric has counted yet."""
        return (self.end_ns - max(self.start_ns, self.told_ns)) / _NS


@dataclass(frozen=True, slots=True)
class Bill:
    """All attempts at one job that ended as `outcome`."""

    attempts: Sequence[Attempt]
    outcome: Outcome

    @property
    def compute_s(self) -> float:
        """Device-seconds of all attempts, the lost ones too."""
        return sum(a.seconds for a in self.attempts if a.role != "provider")

    @property
    def usd(self) -> float | None:
        """What all of it costs; None if there is a part whose price is not known."""
        prices = [(a.seconds, a.usd_per_second) for a in self.attempts]
        if not prices or any(price is None for _, price in prices):
            return None
        return sum(seconds * (price or 0.0) for seconds, price in prices)

    @property
    def wasted_s(self) -> float:
        """Device-seconds that the result owes nothing to."""
        return sum(seconds for a in self.attempts for _, seconds in self.waste(a, since_ns=a.start_ns))

    def waste(self, attempt: Attempt, *, since_ns: int) -> Iterator[tuple[Cause, float]]:
        """The seconds of an attempt, from `since_ns` on, that came to nothing, and why.

        Of an attempt that another one of its role followed, only what that one went on from was of use, and of
        a job that brought no video, nothing.
        """
        if attempt.role == "provider":
            return
        since = max(since_ns, attempt.start_ns)
        followed = any(a.role == attempt.role and a.number > attempt.number for a in self.attempts)
        used = min(max(attempt.kept_ns, since), attempt.end_ns) if followed else attempt.end_ns
        if attempt.end_ns > used:
            yield attempt.cause or "recovery", (attempt.end_ns - used) / _NS
        if self.outcome != "completed" and used > since:
            yield self.outcome, (used - since) / _NS
