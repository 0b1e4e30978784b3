"""The only door to diffusers and transformers: no network, no progress bars, no prompts in their logs.

Their pipelines log the part of a prompt that was truncated, at level WARNING, so their loggers are held at ERROR.
"""

from __future__ import annotations

import os
import sys
from typing import Any


def libraries() -> tuple[Any, Any]:
    """Import diffusers and transformers for local files only; returns both modules."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    constants = sys.modules.get("huggingface_hub.constants")
    if constants is not None:  # imported before us, by the user's own code: the variable came too late
        constants.HF_HUB_OFFLINE = True  # type: ignore[attr-defined] # a plain module attribute
    import diffusers
    import transformers
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    for logging in (diffusers_logging, transformers_logging):
        logging.set_verbosity_error()
        logging.disable_progress_bar()
    return diffusers, transformers
