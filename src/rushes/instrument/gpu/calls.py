"""The one seam to NVML: a call by its C name, answered in plain data that can be written down and replayed.

Everything that interprets an answer lies above this seam, so that a recording made on a real machine runs the
same code as the machine itself.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import time
from typing import Any, Final, Protocol

from rushes.instrument.gpu.source import SourceUnavailable

__all__ = ["ALL_LINKS", "Answer", "Calls", "PynvmlCalls", "Refused"]

# Numbers, text, and lists and dicts of them: what JSON holds.
Answer = Any
ALL_LINKS: Final = 0xFFFFFFFF  # the scope of a field that sums over all NVLinks

_NOTHING_THERE: Final = {
    9: "the NVIDIA driver is not loaded",
    12: "libnvidia-ml.so.1 is missing: there is no NVIDIA driver on this host",
    4: "this user may not talk to the NVIDIA driver",
    18: "the NVIDIA driver and its library have different versions; reboot, or reload the driver",
}


class Refused(Exception):  # noqa: N818 - NVML's answer, not a fault of ours
    """NVML answered a call with an error; `code` is its nvmlReturn_t."""

    def __init__(self, code: int) -> None:
        super().__init__(f"NVML answered {code}")
        self.code = code


class Calls(Protocol):
    """NVML, as far as it is used here."""

    def now(self) -> tuple[int, int]:
        """Begins a sweep: nanoseconds since the epoch, and of a clock that never jumps."""

    def ask(self, call: str, device: int | None = None, *args: int) -> Answer:
        """Calls NVML's function of that name, for a GPU by its index. Raises `Refused`."""

    def xids(self) -> list[tuple[int, int]]:
        """The XID errors since the last time, as (index of the GPU, number). Raises `Refused`."""

    def close(self) -> None:
        """Shuts NVML down."""


def plain(value: Any) -> Answer:
    """A ctypes structure, array or friendly object of nvidia-ml-py as dicts and lists.

    A field value is given by the member of its union that its type says.
    """
    if isinstance(value, (int, float, str)) or value is None:
        return value
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, (list, tuple, ctypes.Array)):
        return [plain(v) for v in value]
    names = [f[0] for f in value._fields_] if isinstance(value, ctypes.Structure) else list(vars(value))
    fields = {name: getattr(value, name) for name in names}
    if isinstance(fields.get("value"), ctypes.Union):
        member = _UNION.get(fields["valueType"])
        fields["value"] = None if member is None else getattr(fields["value"], member)
    return {name: plain(v) for name, v in fields.items()}


# nvmlValueType_t to the member of nvmlValue_t.
_UNION: Final = {0: "dVal", 1: "uiVal", 2: "ulVal", 3: "ullVal", 4: "sllVal", 5: "siVal", 6: "usVal"}


class PynvmlCalls:
    """The real NVML, through nvidia-ml-py.

    Raises:
        SourceUnavailable: the package, the driver or the GPU is missing.
    """

    def __init__(self) -> None:
        try:
            self._nvml = importlib.import_module("pynvml")
        except ImportError:
            raise SourceUnavailable("nvidia-ml-py is not installed; pip install nvidia-ml-py") from None
        self._error: type[Exception] = self._nvml.NVMLError
        try:
            self._nvml.nvmlInit()
        except self._error as error:
            code = _code(error)
            raise SourceUnavailable(_NOTHING_THERE.get(code, f"NVML does not start (error {code})")) from None
        self._handles: dict[int, Any] = {}
        self._indices: dict[int, int] = {}
        self._events: Any = None
        with contextlib.suppress(self._error):
            self._events = self._subscribe()

    def now(self) -> tuple[int, int]:
        return time.time_ns(), time.monotonic_ns()

    def ask(self, call: str, device: int | None = None, *args: int) -> Answer:
        try:
            function = getattr(self._nvml, call)
        except AttributeError:  # an older nvidia-ml-py
            raise Refused(self._nvml.NVML_ERROR_FUNCTION_NOT_FOUND) from None
        try:
            if call == "nvmlDeviceGetFieldValues":
                # Pairs of field and scope.
                pairs = list(zip(args[::2], args[1::2], strict=True))
                return plain(function(self._handle(device), pairs))
            return plain(function(*args) if device is None else function(self._handle(device), *args))
        except self._error as error:
            raise Refused(_code(error)) from None

    def xids(self) -> list[tuple[int, int]]:
        if self._events is None:
            raise Refused(self._nvml.NVML_ERROR_NOT_SUPPORTED)
        found = []
        try:
            while True:
                event = self._nvml.nvmlEventSetWait_v2(self._events, 0)
                # By its address: a GPU that has fallen off the bus answers no question, its index neither.
                found.append((self._indices[_address(event.device)], int(event.eventData)))
        except self._error as error:
            if _code(error) == self._nvml.NVML_ERROR_TIMEOUT:
                return found
            raise Refused(_code(error)) from None

    def close(self) -> None:
        try:
            if self._events is not None:
                self._nvml.nvmlEventSetFree(self._events)
            self._nvml.nvmlShutdown()
        except self._error:
            pass  # the driver has gone: there is nothing to let go of
        self._events = None
        self._handles.clear()

    def _handle(self, device: int | None) -> Any:
        index = -1 if device is None else device
        if index not in self._handles:
            handle = self._nvml.nvmlDeviceGetHandleByIndex(index)
            self._handles[index], self._indices[_address(handle)] = handle, index
        return self._handles[index]

    def _subscribe(self) -> Any:
        """An event set that XID errors arrive in, or None where no GPU reports any."""
        events = self._nvml.nvmlEventSetCreate()
        subscribed = False
        for index in range(self._nvml.nvmlDeviceGetCount()):
            try:
                self._nvml.nvmlDeviceRegisterEvents(
                    self._handle(index), self._nvml.nvmlEventTypeXidCriticalError, events
                )
                subscribed = True
            except self._error:
                continue  # this GPU reports none; the others may
        return events if subscribed else None


def _address(handle: Any) -> int:
    return ctypes.cast(handle, ctypes.c_void_p).value or 0


def _code(error: Exception) -> int:
    return int(getattr(error, "value", 0))
