"""The checkpoints of one job's denoising loop: files in its scratch folder, the last two kept.

Each has a name of its own and never changes: a worker that comes back from the dead can't take a later one back.
"""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Final

from rushes.instrument import note_in_step
from rushes.sdk import instruments, logs
from rushes.studio.models import Checkpoint, CheckpointError, StepEvent, UnsavableState

__all__ = ["Checkpoints"]

_KEPT: Final = 2
_SLOW_MS: Final = 5000.0  # the specification's threshold of checkpoint_save_duration_ms
_NAME: Final = re.compile(r"checkpoint_([0-9]{1,9})\.safetensors")
_LOG: Final = logs.get_logger("dit-worker")


class Checkpoints:
    """What is kept of the job `job_id`, which renders with `model`, in `folder`."""

    def __init__(self, folder: Path, *, job_id: str, model: str) -> None:
        self._folder = folder
        self._job_id = job_id
        self._model = model

    def save(self, event: StepEvent) -> None:
        """Writes the loop's state, whole or not at all, and lets go of those before the last two.

        A state that can't be written costs no video: it is said, and the loop goes on.
        """
        started_ns, begun = time.time_ns(), time.perf_counter()
        path = self._folder / f"checkpoint_{event.index}.safetensors"
        try:
            event.checkpoint().save(path)
            size = path.stat().st_size
        except (UnsavableState, OSError) as error:
            self._refused(f"the state after step {event.index} can't be saved: {error}")
            return
        milliseconds = (time.perf_counter() - begun) * 1000
        note_in_step(
            "checkpoint.save",
            started_ns,
            started_ns + round(milliseconds * 1e6),
            {"step": event.index, "size_bytes": size},
        )
        instruments.checkpoint_save_duration_ms.record(milliseconds, model=self._model)
        said = {"model": self._model, "step": event.index, "size_bytes": size}
        tell, name = (
            (_LOG.warning, "generation.checkpoint.slow")
            if milliseconds > _SLOW_MS
            else (_LOG.debug, "generation.checkpoint.saved")
        )
        tell(name, request_id=self._job_id, duration_ms=round(milliseconds, 3), **said)
        for _, old in self._newest_first()[_KEPT:]:
            old.unlink(missing_ok=True)

    def newest(self, fingerprint: str) -> Checkpoint | None:
        """The newest one that can be read and fits; of those that don't do it is said why."""
        for step, path in self._newest_first():
            try:
                checkpoint = Checkpoint.load(path)
            except CheckpointError as error:
                self._refused(str(error))
                continue
            if checkpoint.fingerprint == fingerprint:
                return checkpoint
            self._refused(f"the checkpoint of step {step} was made from other weights or by another version")
        return None

    def saved_ns(self, step: int) -> int | None:
        """When the one of this step was written (Unix nanoseconds); None if it is gone."""
        try:
            return (self._folder / f"checkpoint_{step}.safetensors").stat().st_mtime_ns
        except OSError:
            return None

    def _refused(self, error: str) -> None:
        _LOG.warning("generation.checkpoint.refused", request_id=self._job_id, model=self._model, error=error)

    def _newest_first(self) -> list[tuple[int, Path]]:
        found = [(match, path) for path in self._folder.iterdir() if (match := _NAME.fullmatch(path.name))]
        return sorted(((int(match[1]), path) for match, path in found), reverse=True)
