"""What ingest tells of itself under `rushes_ingest_`, collected when it is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rushes.ingest.receiver import Receiver
from rushes.sdk import instruments

__all__ = ["observe"]

_Observed = Iterable[tuple[float, Mapping[str, str]]]
_SIGNALS = ("spans", "logs", "samples", "histograms", "exemplars")


def observe(receiver: Receiver) -> None:
    """Let the instruments show this receiver's counters."""
    stats = receiver.stats

    def accepted() -> _Observed:
        return [(getattr(stats, signal), {"signal": signal}) for signal in _SIGNALS]

    def refused() -> _Observed:
        by_reason = {**stats.refused, **stats.failed}
        return [(count, {"reason": reason}) for reason, count in by_reason.items()]

    def received() -> _Observed:
        return [(size, {"source": source}) for source, size in dict(stats.bytes).items()]

    instruments.rushes_ingest_accepted_total.observe(accepted)
    instruments.rushes_ingest_refused_total.observe(refused)
    instruments.rushes_ingest_bytes_total.observe(received)
    instruments.rushes_ingest_cut_total.observe(lambda: [(stats.cut, {})])
    instruments.rushes_ingest_series.observe(lambda: [(stats.series, {})])
    instruments.rushes_ingest_held_bytes.observe(lambda: [(receiver.admission.bytes, {})])
