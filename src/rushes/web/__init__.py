"""The control room as people see it: pages, live updates and stored videos over HTTP."""

from __future__ import annotations

__all__: list[str] = []
