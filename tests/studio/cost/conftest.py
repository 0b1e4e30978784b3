"""A real job database, and attempts on paper."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from rushes.studio.cost import Attempt, Book
from rushes.studio.jobs import open_database

SECOND = 1_000_000_000
T0 = 1_767_960_000 * SECOND


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    engine = open_database(url)
    yield engine
    engine.dispose()


@pytest.fixture
def book(engine: sa.Engine) -> Book:
    return Book(engine)


@pytest.fixture
def attempt() -> Callable[..., Attempt]:
    """Makes an attempt from seconds after T0."""

    def make(number: int, start: float, end: float, **fields: Any) -> Attempt:
        for name in ("kept", "told"):
            if name in fields:
                fields[f"{name}_ns"] = T0 + round(fields.pop(name) * SECOND)
        values: dict[str, Any] = {
            "job_id": "video_1",
            "role": "generate",
            "tier": "standard",
            "model": "MOCHI1",
            "device": "NVIDIA H100 80GB HBM3",
            "device_kind": "gpu",
            "usd_per_second": 2.5 / 3600,
        }
        return Attempt(
            number=number,
            start_ns=T0 + round(start * SECOND),
            end_ns=T0 + round(end * SECOND),
            **values | fields,
        )

    return make
