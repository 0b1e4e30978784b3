"""A job as OpenAI's video object, with what the studio knows beyond it as further fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rushes.studio.jobs import NO_SEED, JobState

if TYPE_CHECKING:
    from rushes.studio.jobs import Job, Place

_STATUS: Final = {
    JobState.QUEUED: "queued",
    JobState.ENCODING: "queued",
    JobState.WAITING: "queued",
    JobState.ASSIGNED: "in_progress",
    JobState.GENERATING: "in_progress",
    JobState.COMPLETED: "completed",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "failed",  # OpenAI knows no other end
}


def video_object(job: Job, *, prompt: str | None = None, place: Place | None = None) -> dict[str, Any]:
    """The reply's object; `prompt` is for its owner only. What is not known of its `place` in the queue is absent."""
    known: dict[str, Any] = {}
    if place is not None:
        known["queue_position"] = place.position
        if place.start_ns is not None:
            known["estimated_start"] = place.start_ns // 1_000_000_000
    return known | {
        "id": job.id,
        "object": "video",
        "model": job.model,
        "status": _STATUS[job.state],
        "progress": progress_percent(job),
        "created_at": job.accepted_ns // 1_000_000_000,
        "completed_at": None if job.finished_ns is None else job.finished_ns // 1_000_000_000,
        "expires_at": None,
        "seconds": f"{job.seconds:g}",
        "size": job.resolution,
        "prompt": prompt,
        "quality": None,
        "remixed_from_video_id": None,
        "error": _error(job),
        # Beyond OpenAI's object:
        "state": job.state.value,
        "tier": job.tier,
        "step": job.furthest_step,  # it never falls, whatever a lost worker took along
        "steps": job.steps,
        "seed": None if job.seed == NO_SEED else job.seed,
        "trace_id": job.trace_id,
    }


def progress_percent(job: Job) -> int:
    """Denoising steps done, in percent (none are told by somebody else's API); 100 once the video can be fetched."""
    if job.state is JobState.COMPLETED:
        return 100
    return min(99, 100 * job.furthest_step // job.steps) if job.steps else 0


def _error(job: Job) -> dict[str, str] | None:
    if job.state is JobState.FAILED:
        return {
            "code": job.error_code or "internal_error",
            "message": job.error_message or "the video could not be made; submit it again",
        }
    if job.state is JobState.CANCELLED:
        return {"code": "cancelled", "message": "the video was cancelled before it was finished"}
    return None
