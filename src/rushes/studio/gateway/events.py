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

_POLL_S: Final = 0.1
_KEEP_ALIVE_S: Final = 15.0


async def progress_events(store: JobStore, job: Job) -> AsyncIterator[str]:
    """An event `video` for each change of the job's state or step, the first at once, until its end.

    Its data is the video object (without the prompt) as JSON in one line, and in it, of the progress:

    - `state`: queued, encoding, waiting, assigned, generating, completed, failed or cancelled; `status` is the
      nearest that OpenAI knows (queued, in_progress, completed, failed).
    - `step`: denoising steps done, of `total_steps`; `steps` is the same number under the request's name.
    - `progress`: the same in percent, 100 only once the video can be fetched.
    - `error`: null, or why there will be no video, as `code` and `message`.
    """
    told: tuple[str, int] | None = None
    silent_since = time.monotonic()
    current: Job | None = job
    while current is not None:
        if told != (current.state, current.step):
            told = (current.state, current.step)
            silent_since = time.monotonic()
            data = video_object(current) | {"total_steps": current.steps}
            yield f"event: video\ndata: {json.dumps(data)}\n\n"
        if current.terminal:
            return
        if time.monotonic() - silent_since > _KEEP_ALIVE_S:
            silent_since = time.monotonic()
            yield ": still here\n\n"
        await asyncio.sleep(_POLL_S)
        current = await run_in_threadpool(store.get, job.id)
