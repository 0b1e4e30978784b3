"""What a job is: everything about one video but its prompt, which only `JobStore.prompt` gives out."""

from __future__ import annotations

import enum
import re
import secrets
from dataclasses import dataclass, field
from typing import Final, NamedTuple


class JobState(enum.StrEnum):
    """Where a video is on its way. The last three are final."""

    QUEUED = "queued"
    ENCODING = "encoding"
    WAITING = "waiting"
    ASSIGNED = "assigned"
    GENERATING = "generating"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


TERMINAL: Final = frozenset({JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED})

WAITING: Final = (JobState.QUEUED, JobState.ENCODING, JobState.WAITING)
"""Before a worker has it for rendering."""

RENDERING: Final = (JobState.ASSIGNED, JobState.GENERATING)

UNFINISHED: Final = (*WAITING, *RENDERING)

HELD_BY_WORKER: Final = (JobState.ENCODING, JobState.ASSIGNED, JobState.GENERATING)

SOURCES: Final[dict[JobState, tuple[JobState, ...]]] = {
    JobState.ENCODING: (JobState.QUEUED,),
    JobState.WAITING: (JobState.ENCODING,),
    JobState.ASSIGNED: (JobState.WAITING,),
    JobState.GENERATING: (JobState.ASSIGNED,),
    JobState.COMPLETED: (JobState.GENERATING,),
    JobState.FAILED: UNFINISHED,
    JobState.CANCELLED: UNFINISHED,
}
"""From which states each state may be entered; a final one is never left."""


MAX_RECOVERIES: Final = 5
"""How often a job goes back to its queue: one on which worker after worker is lost is to blame itself."""

INTERRUPTED: Final = "rushes.interrupted"
"""The stage that accounts for what a worker did before it was lost, and for the time until that was noticed."""

RETRIED: Final = "rushes.retried"
"""The stage that ends where a worker gives a job back, since what went wrong may go well another time."""


class Stage(NamedTuple):
    """A stretch of a job's time that a stage of the pipeline accounts for, in Unix nanoseconds."""

    name: str
    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class JobPrompt:
    """The decrypted texts. They don't show in a `repr`, so that no log or traceback prints them."""

    text: str = field(repr=False)
    negative: str = field(repr=False)


NO_SEED: Final = -1
"""The seed of a job whose model takes none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One video. Times are Unix nanoseconds and None until they have come.

    Attributes:
        id: see `JOB_ID`.
        key_id: the API key that submitted it and alone may see it.
        seconds: asked duration; `num_frames` at `fps` is what is rendered for it.
        trace_id: 32 hex digits; with `root_span_id` (16) and `accepted_ns` it rebuilds the trace's root.
        parent_span_id: the caller's span (16 hex digits) where the request brought a traceparent, else empty.
        step: denoising steps done, of `steps`; both are 0 where somebody else's API makes the video.
        seed: settles all randomness; `NO_SEED` where the model takes none.
        error_code: what the caller sees, such as "content_policy_violation"; None unless failed.
        failure_reason: the `reason` label of `video_generation_failure_total`.
        media: the video's name in the storage: reserved before it is stored there, and only of a completed job
            surely there. One that ended otherwise keeps it, so that what was stored can be found and removed.
        size_bytes: the stored video's size.
        attempt: how many workers have been given it, in either role. A worker may change the job only while this
            is still what it was when the job was given to it: whoever comes back from the dead changes nothing.
        recoveries: how often it went back to its queue because its worker was lost.
        retries: how often it went back because what went wrong may go well another time.
        careful: whether it is to be rendered with less memory, at the price of time.
        furthest_step: the most steps that were done, whatever was lost since.
        ready_ns: from when on it may be taken off the queue that it is on.
        alive_ns: when its worker said last that it is at it, where nothing else shows that.
        worker_id: who holds it or held it last.
        executor_id: that worker's process; a restarted worker is another one.
        credits_charged: None until the job is final; 0 unless it was delivered.
    """

    id: str
    key_id: str
    tier: str
    model: str
    state: JobState = JobState.QUEUED
    seconds: float
    width: int
    height: int
    num_frames: int
    fps: float
    steps: int
    seed: int
    guidance_scale: float
    trace_id: str
    root_span_id: str
    parent_span_id: str = ""
    accepted_ns: int
    encode_started_ns: int | None = None
    assigned_ns: int | None = None
    finished_ns: int | None = None
    step: int = 0
    attempt: int = 0
    recoveries: int = 0
    retries: int = 0
    careful: bool = False
    furthest_step: int = 0
    ready_ns: int = 0
    alive_ns: int | None = None
    error_code: str | None = None
    error_message: str | None = None
    failure_reason: str | None = None
    media: str | None = None
    size_bytes: int | None = None
    worker_id: str | None = None
    executor_id: str | None = None
    credits_reserved: int = 0
    credits_charged: int | None = None
    stages: tuple[Stage, ...] = ()

    @property
    def reached_ns(self) -> int:
        """Up to when its time is accounted for."""
        return max((stage.end_ns for stage in self.stages), default=self.accepted_ns)

    @property
    def terminal(self) -> bool:
        """Whether the state is final."""
        return self.state in TERMINAL

    @property
    def work(self) -> int:
        """Steps times pixels: what renders of one model take their time by, roughly."""
        return max(1, self.steps) * self.num_frames * self.width * self.height

    @property
    def resolution(self) -> str:
        """Width and height in pixels, as "64x48"."""
        return f"{self.width}x{self.height}"


JOB_ID: Final = re.compile(r"video_[0-9a-f]{32}")


def new_job_id() -> str:
    """A random, unguessable id."""
    return f"video_{secrets.token_hex(16)}"
