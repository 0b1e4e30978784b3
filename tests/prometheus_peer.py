"""Debian's Prometheus as a peer: started on a folder of its own, written to by remote write, asked over HTTP.

The messages are encoded by hand, samples by numpy, so that neither generated code nor a snappy library is needed
and millions of samples take seconds.
"""

from __future__ import annotations

import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import numpy as np
import numpy.typing as npt

__all__ = ["PROMETHEUS", "Histogram", "Peer", "Written", "started"]

PROMETHEUS: Final = shutil.which("prometheus")
"""The program's path, None where it isn't installed."""

_VARINT_MS: Final = (1 << 35, 1 << 42)  # milliseconds that take six bytes as a varint: the years 1971 to 2109
_LITERAL: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Histogram:
    """A native histogram sample; buckets by Prometheus' index."""

    ts_ms: int
    schema: int
    count: float
    sum: float
    zero_threshold: float
    zero_count: float
    positive: dict[int, float]
    negative: dict[int, float]
    gauge: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """One series to write: times in milliseconds, ascending, and values."""

    labels: dict[str, str]
    ts_ms: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]
    histograms: Sequence[Histogram] = ()


class Peer:
    """A running Prometheus."""

    def __init__(self, url: str, pid: int) -> None:
        self.url = url
        self.pid = pid
        self._client = httpx.Client(base_url=f"{url}/api/v1/", timeout=120, trust_env=False)

    def close(self) -> None:
        self._client.close()

    def write(self, series: Iterable[Written]) -> None:
        """One remote-write request. Samples must not be older than an hour before the newest ever written."""
        body = b"".join(_field(1, _series(each)) for each in series)
        headers = {
            "content-type": "application/x-protobuf",
            "content-encoding": "snappy",
            "x-prometheus-remote-write-version": "0.1.0",
        }
        self._client.post("write", content=_snappy(body), headers=headers).raise_for_status()

    def get(self, path: str, **parameters: str | float) -> dict[str, Any]:
        """What an endpoint of its API answers, errors included."""
        data: dict[str, Any] = self._client.post(path, data=parameters).json()
        return data


@contextmanager
def started(folder: Path) -> Iterator[Peer]:
    """A Prometheus in that folder, until the block ends."""
    if PROMETHEUS is None:
        raise FileNotFoundError("prometheus is not installed")
    config = folder / "prometheus.yml"
    config.write_text("global: {}\n")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = (folder / "log").open("wb")
    process = subprocess.Popen(
        [
            PROMETHEUS,
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'data'}",
            "--storage.tsdb.retention.time=100y",
            f"--web.listen-address=127.0.0.1:{port}",
            "--web.enable-remote-write-receiver",
            "--enable-feature=native-histograms",
        ],
        stdout=log,
        stderr=log,
    )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(f"{url}/-/ready", process)
        peer = Peer(url, process.pid)
        yield peer
        peer.close()
    finally:
        process.terminate()
        process.wait(timeout=30)
        log.close()


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    for _ in range(300):
        if process.poll() is not None:
            raise RuntimeError(f"prometheus ended with {process.returncode}")
        try:
            if httpx.get(url, timeout=1, trust_env=False).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise RuntimeError("prometheus did not become ready")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _zigzag(value: int) -> bytes:
    return _varint((value << 1) ^ (value >> 63))


def _field(number: int, payload: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _double(number: int, value: float) -> bytes:
    return _varint(number << 3 | 1) + struct.pack("<d", value)


def _series(of: Written) -> bytes:
    labels = b"".join(
        _field(1, _field(1, name.encode()) + _field(2, value.encode()))
        for name, value in sorted(of.labels.items())
    )
    return (
        labels
        + _samples(of.ts_ms, of.values)
        + b"".join(_field(4, _histogram(each)) for each in of.histograms)
    )


def _samples(ts_ms: npt.NDArray[np.int64], values: npt.NDArray[np.float64]) -> bytes:
    if not len(ts_ms):
        return b""
    if not (_VARINT_MS[0] <= int(ts_ms.min()) and int(ts_ms.max()) < _VARINT_MS[1]):
        raise ValueError("a time is out of range")
    out = np.empty((len(ts_ms), 18), dtype=np.uint8)
    out[:, 0], out[:, 1], out[:, 2], out[:, 11] = 0x12, 0x10, 0x09, 0x10
    out[:, 3:11] = values.astype("<f8").view(np.uint8).reshape(-1, 8)
    for place in range(6):
        out[:, 12 + place] = (ts_ms >> (7 * place)) & 0x7F | (0x80 if place < 5 else 0)
    return out.tobytes()


def _histogram(of: Histogram) -> bytes:
    def side(spans: int, counts: int, buckets: dict[int, float]) -> bytes:
        out, position = b"", 0
        for index in sorted(buckets):
            out += _field(spans, b"\x08" + _zigzag(index - position) + b"\x10\x01")
            position = index + 1
        return out + _field(counts, struct.pack(f"<{len(buckets)}d", *(buckets[i] for i in sorted(buckets))))

    return (
        _double(2, of.count)
        + _double(3, of.sum)
        + b"\x20"
        + _zigzag(of.schema)
        + _double(5, of.zero_threshold)
        + _double(7, of.zero_count)
        + side(8, 10, of.negative)
        + side(11, 13, of.positive)
        + (b"\x70\x03" if of.gauge else b"")
        + b"\x78"
        + _varint(of.ts_ms)
    )


def _snappy(data: bytes) -> bytes:
    """Snappy's block format, literals only."""
    out = [_varint(len(data))]
    for begin in range(0, len(data), _LITERAL):
        part = data[begin : begin + _LITERAL]
        out += [b"\xf4", struct.pack("<H", len(part) - 1), part]
    return b"".join(out)
