"""Business metrics: the specification's fifth table."""

from __future__ import annotations

from typing import Final

from rushes.catalog.labels import DEVICE_KIND, MODEL, TIER, WASTE_CAUSES
from rushes.catalog.model import Kind, Label, Metric

__all__ = ["BUSINESS"]

_SECTION: Final = "Business"
_OUTCOME: Final = Label(
    "outcome",
    "how the video ended; blocked: by a safety check",
    ("completed", "failed", "blocked", "cancelled"),
)

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
        requires="a price of credits: [cost] credit_usd",
    ),
    Metric(
        name="rushes_compute_seconds_total",
        kind=Kind.COUNTER,
        help="Time that videos had a worker's device, lost attempts included, counted when the video has ended",
        section=_SECTION,
        labels=(TIER, MODEL, DEVICE_KIND, _OUTCOME),
        unit="s",
        specified=False,
    ),
    Metric(
        name="rushes_compute_cost_usd_total",
        kind=Kind.COUNTER,
        help="What that time cost, and what a provider billed",
        section=_SECTION,
        labels=(
            TIER,
            MODEL,
            Label("device_kind", "what worked", (*DEVICE_KIND.values, "provider")),
            _OUTCOME,
        ),
        unit="USD",
        specified=False,
        requires="prices in [cost]",
    ),
    Metric(
        name="rushes_cost_per_delivered_second_usd",
        kind=Kind.HISTOGRAM,
        help="Cost of all attempts at a delivered video, a second of it",
        section=_SECTION,
        labels=(TIER, MODEL),
        unit="USD",
        buckets=(0.0001, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
        specified=False,
        requires="prices in [cost]",
    ),
    Metric(
        name="rushes_wasted_compute_seconds_total",
        kind=Kind.COUNTER,
        help="Time of workers' devices that brought no video; loads of models (cold_load) may lie within the others",
        section=_SECTION,
        labels=(DEVICE_KIND, Label("cause", "what became of the work", WASTE_CAUSES)),
        unit="s",
        specified=False,
    ),
    Metric(
        name="rushes_ledger_discrepancies",
        kind=Kind.GAUGE,
        help="Credits that don't add up: what `rushes keys audit` finds in the ledger",
        section=_SECTION,
        specified=False,
    ),
)
