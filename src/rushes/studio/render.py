"""What the stages of one video hand to each other while it is made."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from sqlalchemy.exc import OperationalError

from rushes.studio import scratch
from rushes.studio.cost import CPU, Device, Meter
from rushes.studio.failure import TimeLimitExceeded
from rushes.studio.jobs import POLICIES, Job, JobStore, TierPolicy, policy_of
from rushes.studio.models import veo3
from rushes.studio.models.card import Picture, RenderRequest
from rushes.studio.models.protocol import Audio, Backend, Latents
from rushes.studio.outcome import Ending
from rushes.studio.provider import Provider
from rushes.studio.safety import Blocklist
from rushes.studio.shelf import Shelf
from rushes.studio.storage import Media
from rushes.studio.transcode import Upsizing

__all__ = ["Render", "Tools"]


@dataclass(frozen=True, slots=True)
class Tools:
    """What a worker has at hand for every job.

    Attributes:
        checkpoint_every: the denoising loop is saved after so many steps, 0: never.
        policies: the tiers', for their time limits.
        max_retries: how often a job is given back that may go well another time.
        encode_again: gives a job back whose encoded prompt was lost; False says that this was tried too often.
        device: what a job's time with this worker is counted as.
        provider_usd_per_second: what a provider bills.
        upsize: how small clips are made larger in their files, None: not at all.
        stopping: set when the worker is to end: waiting for somebody else is then given up, and goes on in the next.
    """

    store: JobStore
    ending: Ending
    shelf: Shelf
    media: Media
    blocklist: Blocklist
    scratch: Path
    worker_id: str
    hash_key: bytes
    checkpoint_every: int = 0
    policies: Mapping[str, TierPolicy] = field(default_factory=lambda: POLICIES)
    max_retries: int = 0
    encode_again: Callable[[Job], bool] = lambda _: False
    provider: Provider | None = None
    device: Device = CPU
    provider_usd_per_second: float | None = None
    upsize: Upsizing | None = None
    stopping: threading.Event = field(default_factory=threading.Event)


@dataclass(slots=True, kw_only=True)
class Render:
    """One job on its way through the stages, in this worker's hands. Arrays are None until their stage has run.

    Attributes:
        picture: what the video begins with.
        frames: uint8, (frames, height, width, 3).
        meter: counts the time that the worker has the job.
        raise_if_ended: raises Cancelled when the job was ended by somebody else; called between stages and steps.
        kept: what stays until the last span of the work is closed: the model's place in memory, and redactions,
            since an exception that quotes the prompt is recorded by every span that it leaves.
    """

    job: Job
    tools: Tools
    meter: Meter
    raise_if_ended: Callable[[], None]
    backend: Backend | None = None
    picture: Picture | None = None
    latents: Latents | None = None
    frames: npt.NDArray[np.uint8] | None = None
    sound: Audio | None = None
    file: Path | None = None
    media: str | None = None
    size_bytes: int | None = None
    started_ns: int = 0
    kept: ExitStack = field(default_factory=ExitStack)

    @property
    def folder(self) -> Path:
        """The job's scratch folder."""
        return scratch.folder_of(self.tools.scratch, self.job.id)

    @property
    def remote(self) -> bool:
        """Whether the video is made by somebody else's API."""
        return self.job.model == veo3.NAME

    @property
    def file_path(self) -> Path:
        """Where the video's file is made: no two workers write one file, should both think that the job is theirs."""
        return self.folder / f"video_{self.job.attempt}.mp4"

    @property
    def encoded_path(self) -> Path:
        """Where the encode worker leaves the encoded prompt for the generate worker."""
        return self.folder / "encoded.safetensors"

    @property
    def request(self) -> RenderRequest:
        """What the model is asked for."""
        job = self.job
        return RenderRequest(
            width=job.width,
            height=job.height,
            num_frames=job.num_frames,
            steps=job.steps,
            seed=job.seed,
            guidance_scale=job.guidance_scale,
            fps=round(job.fps),
            picture=self.picture,
        )

    @property
    def overdue(self) -> bool:
        """Whether the job has been on its worker for longer than its tier allows."""
        limit_s, begun = self._time_limit_s, self.job.assigned_ns
        return limit_s is not None and begun is not None and (time.time_ns() - begun) / 1e9 > limit_s

    def raise_if_overdue(self) -> None:
        """Raises TimeLimitExceeded."""
        if self.overdue:
            text = f"the video took longer than the {self._time_limit_s:g} s that tier {self.job.tier} allows"
            raise TimeLimitExceeded(text)

    @property
    def _time_limit_s(self) -> float | None:
        return policy_of(self.job.tier, self.tools.policies).time_limit_s

    def clean_up(self) -> None:
        """Removes the scratch folder of a job that has ended. Another worker may go on with one that has not."""
        self.meter.stop()
        try:
            job = self.tools.store.get(self.job.id)
        except OperationalError:
            return  # the next worker that starts sweeps it
        if job is None or job.terminal:
            scratch.remove(self.tools.scratch, self.job.id)
        if job is not None and job.terminal:
            self.tools.ending.worked_on(job)
