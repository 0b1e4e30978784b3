"""NVML's answers written down on a machine with GPUs and replayed on one without.

A recording is JSON: `opening` has the answers given before the first sweep, `sweeps` those of each one with its
times. An answer is kept under the call as written (`nvmlDeviceGetTemperature(0)`) and the GPU's index, or "host";
an error is `{"error": nvmlReturn_t}`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rushes.instrument.gpu.calls import Answer, Calls, PynvmlCalls, Refused
from rushes.instrument.gpu.nvml import NvmlSource

__all__ = ["RecordedCalls", "RecordedSource", "RecordingEnded", "record"]

_FORMAT: Final = "rushes-nvml-recording/1"
_HOST: Final = "host"
_NOT_FOUND: Final = 13  # NVML_ERROR_FUNCTION_NOT_FOUND
# Fields of a process that say whose it is; the others are of no use here.
_KEPT_OF_A_PROCESS: Final = frozenset({"pid", "usedGpuMemory"})


class RecordingEnded(EOFError):  # noqa: N818 - as EOFError's sense is: no error of the recording
    """All sweeps of the recording have been replayed."""


def _key(call: str, args: tuple[int, ...]) -> str:
    return f"{call}({', '.join(map(str, args))})"


@dataclass(slots=True)
class _Entry:
    """The answers of one sweep, or of the time before the first."""

    time_ns: int = 0
    monotonic_ns: int = 0
    xids: Any = field(default_factory=list)
    answers: dict[str, dict[str, Answer]] = field(default_factory=dict)


class RecordedCalls:
    """Replays a recording; each sweep of the reader takes the next of the recording.

    Raises:
        ValueError: the file is no recording.
    """

    def __init__(self, path: Path) -> None:
        data = json.loads(path.read_text())
        if not isinstance(data, dict) or data.get("format") != _FORMAT:
            raise ValueError(f"{path} is no recording of NVML ({_FORMAT})")
        self._sweeps = iter([_Entry(**sweep) for sweep in data["sweeps"]])
        self._entry = _Entry(answers=data["opening"])

    def now(self) -> tuple[int, int]:
        entry = next(self._sweeps, None)
        if entry is None:
            raise RecordingEnded("the recording has no more sweeps")
        self._entry = entry
        return entry.time_ns, entry.monotonic_ns

    def ask(self, call: str, device: int | None = None, *args: int) -> Answer:
        answers = self._entry.answers.get(_HOST if device is None else str(device), {})
        answer = answers.get(_key(call, args), {"error": _NOT_FOUND})
        if isinstance(answer, dict) and "error" in answer:
            raise Refused(answer["error"])
        return answer

    def xids(self) -> list[tuple[int, int]]:
        xids = self._entry.xids
        if isinstance(xids, dict):
            raise Refused(xids["error"])
        return [(gpu, number) for gpu, number in xids]

    def close(self) -> None:
        """A recording holds nothing open."""


class RecordedSource(NvmlSource):
    """The GPUs of a recording, read by the code that reads real ones. `read` raises `RecordingEnded` at its end."""

    def __init__(self, path: Path) -> None:
        super().__init__(RecordedCalls(path))


class _Recorder:
    """Passes calls on and keeps what was answered."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self.opening = _Entry()
        self.sweeps: list[_Entry] = []
        self._entry = self.opening

    def now(self) -> tuple[int, int]:
        times = self._calls.now()
        self._entry = _Entry(*times)
        self.sweeps.append(self._entry)
        return times

    def ask(self, call: str, device: int | None = None, *args: int) -> Answer:
        answers = self._entry.answers.setdefault(_HOST if device is None else str(device), {})
        try:
            answer = self._calls.ask(call, device, *args)
        except Refused as refused:
            answers[_key(call, args)] = {"error": refused.code}
            raise
        answers[_key(call, args)] = _kept(answer)
        return answer

    def xids(self) -> list[tuple[int, int]]:
        try:
            xids = self._calls.xids()
        except Refused as refused:
            self._entry.xids = {"error": refused.code}
            raise
        self._entry.xids = [list(x) for x in xids]
        return xids

    def close(self) -> None:
        self._calls.close()


def _kept(answer: Answer) -> Answer:
    if isinstance(answer, list) and answer and "pid" in answer[0]:
        return [{k: v for k, v in process.items() if k in _KEPT_OF_A_PROCESS} for process in answer]
    return answer


def record(
    path: Path,
    sweeps: int,
    interval_s: float = 1.0,
    *,
    calls: Calls | None = None,
    wait: Callable[[float], object] = time.sleep,
) -> None:
    """Writes `sweeps` sweeps of this host's GPUs to `path`, one each `interval_s` seconds.

    Raises:
        SourceUnavailable: there is nothing to record.
    """
    recorder = _Recorder(PynvmlCalls() if calls is None else calls)
    source = NvmlSource(recorder)
    try:
        for number in range(sweeps):
            if number:
                wait(interval_s)
            source.read()
    finally:
        source.close()
    data = {
        "format": _FORMAT,
        "opening": recorder.opening.answers,
        "sweeps": [
            {"time_ns": e.time_ns, "monotonic_ns": e.monotonic_ns, "xids": e.xids, "answers": e.answers}
            for e in recorder.sweeps
        ],
    }
    path.write_text(json.dumps(data, indent=1) + "\n")
