"""Rushes: observability for services that turn prompts into video."""

from __future__ import annotations

from rushes.sdk import configure, flush, instruments, shutdown

__all__ = ["configure", "flush", "instruments", "shutdown"]
