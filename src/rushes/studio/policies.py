"""What the settings say of the tiers, in the queue's terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rushes.settings import Settings
from rushes.studio.jobs import POLICIES, TierPolicy

__all__ = ["tier_policies"]


def tier_policies(settings: Settings) -> Mapping[str, TierPolicy]:
    """Every tier's weight and limits, as set or by default."""
    said: dict[str, dict[str, Any]] = {
        tier: values.model_dump(exclude_none=True) for tier, values in settings.tiers.items()
    }
    return {tier: replace(default, **said.get(tier, {})) for tier, default in POLICIES.items()}
