"""The models that a worker has in memory, loaded when first asked for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from rushes.sdk import instruments, logs
from rushes.studio.models import Backend, backend, locate
from rushes.studio.models.protocol import LoadPart

__all__ = ["Shelf"]

_LOG: Final = logs.get_logger("model-loader")


class Shelf:
    """Backends by model name; `sample_every`: sub-modules are measured on every n-th denoising step, 0 never."""

    def __init__(
        self,
        part: LoadPart,
        weights: Mapping[str, Path | None],
        cache: Path,
        device: str,
        *,
        sample_every: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._part: Final = part
        self._weights: Final = weights
        self._cache: Final = cache
        self._device: Final = device
        self._sample_every: Final = sample_every
        self._monotonic: Final = monotonic
        self._backends: dict[str, Backend] = {}
        self._lock = threading.Lock()  # a worker of both roles asks from two threads

    def holds(self, name: str) -> bool:
        """Whether the model is in memory."""
        return name in self._backends

    def get(self, name: str) -> Backend:
        """The model, loaded. Raises UnknownModel, WeightsMissing."""
        with self._lock:
            return self._get(name)

    def _get(self, name: str) -> Backend:
        if name not in self._backends:
            started = self._monotonic()
            setting = f"RUSHES_WEIGHTS__{name} or [weights] {name} in rushes.toml"
            folder = locate(name, self._weights.get(name), self._cache, setting=setting)
            made = backend(name, folder, self._device, setting=setting)
            made.load(self._part)
            made.instrument(sample_every=self._sample_every)
            seconds = self._monotonic() - started
            instruments.worker_model_load_duration_seconds.record(seconds, model=name)
            instruments.rushes_wasted_compute_seconds_total.add(
                seconds, device_kind="cpu" if self._device == "cpu" else "gpu", cause="cold_load"
            )
            _LOG.info(
                "generation.model.loaded",
                model=name,
                load_seconds=round(seconds, 3),
                worker_role=self._part,
                path=str(folder),
            )
            self._backends[name] = made
        return self._backends[name]
