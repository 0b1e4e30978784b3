"""Dashboards as data: each panel names its PromQL once, for the control room's pages and for exports."""

from __future__ import annotations

from rushes.dashboards.operations import OPERATIONS
from rushes.dashboards.panel import Dashboard, Kind, Panel, Query, Section, Threshold, Unit

__all__ = ["OPERATIONS", "Dashboard", "Kind", "Panel", "Query", "Section", "Threshold", "Unit"]
