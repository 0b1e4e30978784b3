"""The parameters of a request to Prometheus' HTTP API, read and refused as Prometheus does."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Self, TypeVar
from urllib.parse import parse_qsl

from starlette.requests import Request

from rushes.query.promql import MAX_STEPS, PromQLError
from rushes.web.api.numbers import duration, moment

__all__ = ["Form", "bad_parameter"]

_MAX_FORM: Final = 1 << 20
_MAX_FIELDS: Final = 10_000
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,18}")

_T = TypeVar("_T")


def bad_parameter(name: str, why: object) -> PromQLError:
    """The error for a parameter that can't be used."""
    return PromQLError("bad_data", f'invalid parameter "{name}": {why}')


class Form:
    """A request's parameters: of the form first, then of the query string; `path` has those of the path."""

    def __init__(self, pairs: Sequence[tuple[str, str]], path: Mapping[str, Any]) -> None:
        self._pairs = pairs
        self.path = path

    @classmethod
    async def of(cls, request: Request) -> Self:
        """Reads the request. Raises PromQLError for a form that can't be read."""
        pairs = list(request.query_params.multi_items())
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if request.method == "POST" and kind == "application/x-www-form-urlencoded":
            body = bytearray()
            async for chunk in request.stream():
                body += chunk
                if len(body) > _MAX_FORM:
                    raise PromQLError("bad_data", f"error parsing form values: more than {_MAX_FORM} bytes")
            try:
                given = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MAX_FIELDS)
            except ValueError as error:
                raise PromQLError("bad_data", f"error parsing form values: {error}") from error
            pairs = given + pairs
        return cls(pairs, request.path_params)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self._pairs if key == name]

    def text(self, name: str) -> str:
        """A parameter's first value; empty if it isn't there, which Prometheus takes to be the same."""
        return next(iter(self.all(name)), "")

    def time(self, name: str) -> float:
        """Seconds since the epoch."""
        return self._read(name, moment)

    def time_or(self, name: str, default: _T) -> float | _T:
        if not self.text(name):
            return default
        try:
            return moment(self.text(name))
        except ValueError as error:
            raise bad_parameter(name, f"Invalid time value for '{name}': {error}") from error

    def range(self) -> tuple[float, float, float]:
        """Start, end and step of a range query, in seconds."""
        start, end = self.time("start"), self.time("end")
        if end < start:
            raise bad_parameter("end", "end timestamp must not be before start time")
        step = self._read("step", duration)
        if round(step * 1000) <= 0:
            raise bad_parameter(
                "step",
                "zero or negative query resolution step widths are not accepted. Try a positive integer",
            )
        if (end - start) // step > MAX_STEPS:
            raise PromQLError(
                "bad_data",
                f"exceeded maximum resolution of {MAX_STEPS:,} points per timeseries. "
                "Try decreasing the query resolution (?step=XX)",
            )
        return start, end, step

    def timeout(self, longest: float) -> float:
        """Seconds that the answer may take."""
        return min(self._read("timeout", duration), longest) if self.text("timeout") else longest

    def lookback(self) -> float | None:
        """Seconds for which a sample counts, None where the request leaves it open; zero says nothing either."""
        text = self.text("lookback_delta")
        if not text:
            return None
        try:
            seconds = duration(text)
        except ValueError as error:
            raise PromQLError("bad_data", f"error parsing lookback delta duration: {error}") from error
        return seconds if seconds > 0 else None

    def limit(self) -> int | None:
        """At most so many entries; None and zero are no limit."""
        text = self.text("limit")
        if not text:
            return None
        if not _WHOLE.fullmatch(text):
            raise bad_parameter("limit", f'strconv.Atoi: parsing "{text[:200]}": invalid syntax')
        if int(text) < 0:
            raise bad_parameter("limit", "limit must be non-negative")
        return int(text) or None

    def count(self, name: str) -> int | None:
        """How many metrics the metadata should tell of; a negative number is no limit."""
        text = self.text(name)
        if not text:
            return None
        if not _WHOLE.fullmatch(text):
            raise PromQLError("bad_data", f"{name} must be a number")
        return int(text) if int(text) >= 0 else None

    def _read(self, name: str, reader: Callable[[str], float]) -> float:
        try:
            return reader(self.text(name))
        except ValueError as error:
            raise bad_parameter(name, error) from error
