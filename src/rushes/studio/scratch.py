"""The folders in which a job's workers hand things to each other: its encoded prompt, its unfinished file.

They hold what a prompt became, so they go when the job ends, whoever ends it: a worker, the gateway on
cancellation, the reaper for a dead worker. What a killed process leaves is swept when a worker starts.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from rushes.sdk import logs
from rushes.studio.jobs import JOB_ID, Job, JobStore, remove_unused
from rushes.studio.storage import Media, NoSuchObject, StorageError

__all__ = ["folder_of", "leaving_nothing", "remove", "sweep"]

_LOG: Final = logs.get_logger("scratch")


def folder_of(scratch: Path, job_id: str) -> Path:
    """A job's folder; it need not exist."""
    return scratch / job_id


def remove(scratch: Path, job_id: str) -> None:
    """Removes a job's folder, if there is one."""
    shutil.rmtree(folder_of(scratch, job_id), ignore_errors=True)


def leaving_nothing(
    tell: Callable[[Job], None], *, store: JobStore, media: Media, scratch: Path
) -> Callable[[Job], None]:
    """What to call with a job that was given up: its folder goes, and what it had stored already; then `tell`."""

    def ended(job: Job) -> None:
        remove(scratch, job.id)
        try:
            if job.media:
                remove_unused(store.engine, job.media, media.delete)
        except (StorageError, NoSuchObject) as error:
            _LOG.error("log.message", error=f"a given-up video's object stays in the store: {error}")
        tell(job)

    return ended


def sweep(scratch: Path, store: JobStore) -> list[str]:
    """Removes the folders of jobs that have ended or are gone; returns their ids. What is no job's stays."""
    swept = []
    for folder in scratch.iterdir() if scratch.is_dir() else ():
        if JOB_ID.fullmatch(folder.name) is None:
            continue
        job = store.get(folder.name)
        if job is None or job.terminal:
            remove(scratch, folder.name)
            swept.append(folder.name)
    return swept
