"""Business metrics: the specification's fifth table."""

from __future__ import annotations

from typing import Final

from rushes.catalog.labels import MODEL, TIER
from rushes.catalog.model import Kind, Label, Metric, Status

__all__ = ["BUSINESS"]

_SECTION: Final = "Business"

BUSINESS: Final = (
    Metric(
        name="credits_consumed_total",
        kind=Kind.COUNTER,
        help="Credits used (by tier)",
        section=_SECTION,
        labels=(TIER, MODEL),
        target="Billing",
    ),
    Metric(
        name="video_seconds_generated_total",
        kind=Kind.COUNTER,
        help="Total video duration delivered, in seconds of video",
        section=_SECTION,
        labels=(TIER, MODEL),
        target="Capacity planning",
    ),
    Metric(
        name="active_users_daily",
        kind=Kind.GAUGE,
        help="Keys that submitted a video in the last 24 hours",
        section=_SECTION,
        target="Growth tracking",
    ),
    Metric(
        name="api_requests_total",
        kind=Kind.COUNTER,
        help="Total API calls",
        section=_SECTION,
        labels=(
            Label("route", "the route's template, never the path as sent"),
            Label("method", "the HTTP method"),
            Label("status", "the HTTP status code"),
        ),
        target="Usage patterns",
    ),
    Metric(
        name="revenue_per_generation_usd",
        kind=Kind.HISTOGRAM,
        help="Revenue per video",
        section=_SECTION,
        labels=(TIER, MODEL),
        unit="USD",
        buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
        target="Profitability",
        status=Status.PENDING,
    ),
)
