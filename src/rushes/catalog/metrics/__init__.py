"""All declared metrics, in the specification's order, then Rushes' own."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from rushes.catalog.metrics.business import BUSINESS
from rushes.catalog.metrics.generation import GENERATION
from rushes.catalog.metrics.gpu import GPU_CLUSTER
from rushes.catalog.metrics.own import OWN
from rushes.catalog.metrics.queue import QUEUE
from rushes.catalog.metrics.safety import SAFETY
from rushes.catalog.model import Metric

__all__ = ["METRICS"]

METRICS: Final[Mapping[str, Metric]] = MappingProxyType(
    {m.name: m for m in (*GENERATION, *QUEUE, *GPU_CLUSTER, *SAFETY, *BUSINESS, *OWN)}
)
