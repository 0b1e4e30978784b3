"""Safety metrics: the specification's fourth table. Most wait for the classifiers and C2PA."""

from __future__ import annotations

from typing import Final

from rushes.catalog.labels import CATEGORY, MODEL
from rushes.catalog.model import Kind, Label, Metric, Status

__all__ = ["SAFETY"]

_SECTION: Final = "Safety"
_CLASSIFIER: Final = Label("classifier", "which check blocked")

SAFETY: Final = (
    Metric(
        name="pregen_safety_block_total",
        kind=Kind.COUNTER,
        help="Pre-generation safety blocks",
        section=_SECTION,
        labels=(CATEGORY, _CLASSIFIER),
        target="Monitor trend",
    ),
    Metric(
        name="postgen_safety_block_total",
        kind=Kind.COUNTER,
        help="Post-gen blocks (by category)",
        section=_SECTION,
        labels=(CATEGORY, _CLASSIFIER),
        target="<1% of completions",
        status=Status.PENDING,
    ),
    Metric(
        name="deepfake_detection_score",
        kind=Kind.HISTOGRAM,
        help="Deepfake confidence",
        section=_SECTION,
        labels=(MODEL,),
        buckets=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1),
        target="Track distribution",
        status=Status.PENDING,
    ),
    Metric(
        name="safety_check_duration_ms",
        kind=Kind.HISTOGRAM,
        help="Duration of safety check pipeline",
        section=_SECTION,
        labels=(Label("check_type", "before or after generation", ("pregen", "postgen")), MODEL),
        unit="ms",
        buckets=(50, 100, 200, 300, 500, 1000),
        target="<500ms",
    ),
    Metric(
        name="false_positive_rate",
        kind=Kind.GAUGE,
        help="Wrongly blocked, from reviewed verdicts only (0-1)",
        section=_SECTION,
        labels=(CATEGORY,),
        target="<2%",
        status=Status.PENDING,
    ),
    Metric(
        name="csam_detection_total",
        kind=Kind.COUNTER,
        help="CSAM detections",
        section=_SECTION,
        labels=(Label("stage", "before or after generation", ("pregen", "postgen")),),
        target="Any = critical alert",
        status=Status.PENDING,
    ),
    Metric(
        name="c2pa_embed_success_total",
        kind=Kind.COUNTER,
        help="Successful C2PA embedding",
        section=_SECTION,
        labels=(MODEL,),
        target="100%",
        status=Status.PENDING,
    ),
)
