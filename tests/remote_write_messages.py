"""Remote write requests for tests, encoded by hand from the protocol's field numbers."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from cramjam import snappy

__all__ = [
    "Symbols",
    "field",
    "histogram",
    "number",
    "packed",
    "real",
    "series1",
    "series2",
    "snapped",
    "varint",
    "zigzag",
]


def varint(of: int) -> bytes:
    of &= (1 << 64) - 1
    out = bytearray()
    while of > 0x7F:
        out.append(of & 0x7F | 0x80)
        of >>= 7
    out.append(of)
    return bytes(out)


def zigzag(of: int) -> int:
    return (of << 1) ^ (of >> 63)


def number(at: int, of: int) -> bytes:
    return varint(at << 3) + varint(of)


def real(at: int, of: float | bytes) -> bytes:
    return varint(at << 3 | 1) + (of if isinstance(of, bytes) else struct.pack("<d", of))


def field(at: int, of: bytes | str) -> bytes:
    raw = of.encode() if isinstance(of, str) else of
    return varint(at << 3 | 2) + varint(len(raw)) + raw


def packed(at: int, of: Iterable[int]) -> bytes:
    return field(at, b"".join(map(varint, of)))


def series1(
    labels: dict[str, str] | Sequence[tuple[str, str]],
    samples: Sequence[tuple[float | bytes, int]] = (),
    more: bytes = b"",
) -> bytes:
    """A TimeSeries of a WriteRequest, with its tag."""
    pairs = labels.items() if isinstance(labels, dict) else labels
    body = b"".join(field(1, field(1, name) + field(2, value)) for name, value in pairs)
    body += b"".join(field(2, real(1, value) + number(2, ts)) for value, ts in samples)
    return field(1, body + more)


class Symbols:
    """The table that a request of 2.0 refers to."""

    def __init__(self) -> None:
        self.texts = [""]

    def __call__(self, text: str) -> int:
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text)

    def request(self, *series: bytes) -> bytes:
        return b"".join(field(4, text) for text in self.texts) + b"".join(series)


def series2(
    symbols: Symbols,
    labels: dict[str, str],
    samples: Sequence[tuple[float, int]] = (),
    more: bytes = b"",
) -> bytes:
    """A TimeSeries of a Request, with its tag."""
    refs = [symbols(text) for pair in sorted(labels.items()) for text in pair]
    body = packed(1, refs) + b"".join(field(2, real(1, value) + number(2, ts)) for value, ts in samples)
    return field(5, body + more)


def histogram(ts: int, **changes: bytes) -> bytes:
    """A histogram of 10 observations: 2 in the zero bucket, 1, 3, 0, 2 above it and 2 below."""
    fields = {
        "count": number(1, 10),
        "sum": real(3, 18.5),
        "schema": number(4, zigzag(1)),
        "zero_threshold": real(5, 0.001),
        "zero_count": number(6, 2),
        "negative": field(8, number(1, zigzag(2)) + number(2, 1)) + packed(9, [zigzag(2)]),
        "positive": field(11, number(1, zigzag(-1)) + number(2, 2))
        + field(11, number(1, zigzag(3)) + number(2, 2))
        + packed(12, map(zigzag, [1, 2, -3, 2])),
        "hint": b"",
        "ts": number(15, ts),
    } | changes
    return b"".join(fields.values())


def snapped(body: bytes) -> bytes:
    return bytes(snappy.compress_raw(body))
