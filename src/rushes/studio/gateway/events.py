"""A video's progress as server-sent events, for a progress bar that should move with every step."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Final

from starlette.concurrency import run_in_threadpool

from rushes.studio.gateway.video import video_object

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rushes.studio.jobs import Job, JobStore

POLL_S: Final = 0.1
KEEP_ALIVE_S: Final = 15.0


def event_id(job: Job) -> str:
    """What tells one event of a video from the others: where the video was when it was sent."""
    return f"{job.state.value}-{job.furthest_step}"  # as the object tells it


async def progress_events(
    store: JobStore, job: Job, *, seen: str | None = None, keep_alive_s: float = KEEP_ALIVE_S
) -> AsyncIterator[str]:
    """An event `video` for each change of the job's state or step, the first at once, until its end.

    Its data is the video object (without the prompt) as JSON in one line, and in it, of the progress:

    - `state`: queued, encoding, waiting, assigned, generating, completed, failed or cancelled; `status` is the
      nearest that OpenAI knows (queued, in_progress, completed, failed).
    - `step`: denoising steps done, of `total_steps`; `steps` is the same number under the request's name.
    - `progress`: the same in percent, 100 only once the video can be fetched.
    - `error`: null, or why there will be no video, as `code` and `message`.

    Args:
        store: where the job is.
        job: as it is now.
        seen: the id of the event that the caller had last, which is not sent again.
        keep_alive_s: after how many seconds without an event a comment is sent.
    """
    told = seen
    silent_since = time.monotonic()
    current: Job | None = job
    while current is not None:
        if told != event_id(current):
            told = event_id(current)
            silent_since = time.monotonic()
            data = video_object(current) | {"total_steps": current.steps}
            yield f"id: {told}\nevent: video\ndata: {json.dumps(data)}\n\n"
        if current.terminal:
            return
        if time.monotonic() - silent_since >= keep_alive_s:
            silent_since = time.monotonic()
            yield ": still here\n\n"
        await asyncio.sleep(POLL_S)
        current = await run_in_threadpool(store.get, job.id)
