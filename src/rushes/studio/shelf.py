"""The models that a worker has in memory: loaded when first asked for, let go of when others need the room."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rushes.sdk import instruments, logs
from rushes.studio.models import Backend, backend, locate
from rushes.studio.models.protocol import LoadPart

__all__ = ["Shelf"]

_LOG: Final = logs.get_logger("model-loader")


class Shelf:
    """Backends by model name.

    Where `memory_bytes` is given, the models that were not used for longest go until those that stay have room in
    it, by the size of their parameters as they were loaded. One that is in use stays, even if that is too much.
    `sample_every`: sub-modules are measured on every n-th denoising step, 0 never.
    """

    def __init__(
        self,
        part: LoadPart,
        weights: Mapping[str, Path | None],
        cache: Path,
        device: str,
        *,
        sample_every: int,
        memory_bytes: int | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._part: Final = part
        self._weights: Final = weights
        self._cache: Final = cache
        self._device: Final = device
        self._sample_every: Final = sample_every
        self._memory_bytes: Final = memory_bytes
        self._monotonic: Final = monotonic
        self._backends: dict[str, Backend] = {}  # the one that was used last is the last
        self._sizes: dict[str, int] = {}  # as measured; of those that went as well
        self._users: Counter[str] = Counter()
        self._lock = threading.Lock()  # a worker of both roles asks from two threads

    def holds(self, name: str) -> bool:
        """Whether the model is in memory."""
        return name in self._backends

    def warm(self) -> frozenset[str]:
        """The models that are in memory."""
        return frozenset(self.sizes())

    def sizes(self) -> dict[str, int]:
        """Bytes of parameters of the models that are in memory."""
        return {name: self._sizes.get(name, 0) for name in list(self._backends)}

    @contextmanager
    def use(self, name: str) -> Iterator[Backend]:
        """The model, loaded, which stays in memory meanwhile. Raises UnknownModel, WeightsMissing."""
        with self._lock:
            counted = (
                instruments.rushes_model_cache_hits_total
                if self.holds(name)
                else instruments.rushes_model_cache_misses_total
            )
            counted.add(1, model=name)
            made = self._get(name)
            self._users[name] += 1
        try:
            yield made
        finally:
            with self._lock:
                self._users[name] -= 1

    def preload(self, name: str) -> None:
        """Loads a model if there is room for it. Raises UnknownModel, WeightsMissing."""
        with self._lock:
            if self._memory_bytes is not None:
                wanted = self._expected(self._on_disk(name))
                if not self.holds(name) and self._taken() + wanted > self._memory_bytes:
                    return
            self._get(name)

    def _get(self, name: str) -> Backend:
        made = self._backends.pop(name, None)
        if made is None:
            made = self._on_disk(name)
            self._make_room(self._expected(made))
            self._load(made)
            self._sizes[name] = made.memory_bytes
        self._backends[name] = made
        self._make_room(0, keep=name)  # it may be larger than its files
        return made

    def _make_room(self, wanted: int, *, keep: str | None = None) -> None:
        for name in list(self._backends):
            if self._memory_bytes is None or self._taken() + wanted <= self._memory_bytes:
                return
            if name == keep or self._users[name]:
                continue
            self._backends.pop(name).unload()
            instruments.rushes_model_cache_evictions_total.add(1, model=name)
            _LOG.info(
                "generation.model.evicted", model=name, size_bytes=self._sizes[name], worker_role=self._part
            )

    def _taken(self) -> int:
        return sum(self.sizes().values())

    def _expected(self, made: Backend) -> int:
        """A model's size: as it was when it was here, else that of its weights' files."""
        known = self._sizes.get(made.card.name)
        return made.stored_bytes(self._part) if known is None else known

    def _on_disk(self, name: str) -> Backend:
        """The model, not loaded."""
        setting = f"RUSHES_WEIGHTS__{name} or [weights] {name} in rushes.toml"
        folder = locate(name, self._weights.get(name), self._cache, setting=setting)
        return backend(name, folder, self._device, setting=setting)

    def _load(self, made: Backend) -> None:
        started = self._monotonic()
        made.load(self._part)
        made.instrument(sample_every=self._sample_every)
        seconds, model = self._monotonic() - started, made.card.name
        instruments.worker_model_load_duration_seconds.record(seconds, model=model)
        instruments.rushes_wasted_compute_seconds_total.add(
            seconds, device_kind="cpu" if self._device == "cpu" else "gpu", cause="cold_load"
        )
        _LOG.info(
            "generation.model.loaded",
            model=model,
            load_seconds=round(seconds, 3),
            worker_role=self._part,
            path=str(made.folder),
        )
