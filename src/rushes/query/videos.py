"""Videos as the telemetry tells of them: their lifecycle's log events and their root span, nothing else.

The control room keeps no table of jobs: whatever reaches it over OTLP is what it knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

from rushes.store.interface import Param, Row, Store

__all__ = ["VIDEO_STATUSES", "VideoRow", "VideoStatus", "Videos"]

VideoStatus: TypeAlias = Literal[
    "queued", "encoding", "waiting", "generating", "completed", "failed", "cancelled"
]
VIDEO_STATUSES: Final[tuple[VideoStatus, ...]] = get_args(VideoStatus)

_STATUS_OF: Final[dict[str, VideoStatus]] = {
    "generation.job.accepted": "queued",
    "generation.encode.started": "encoding",
    "generation.job.waiting": "waiting",
    "generation.job.assigned": "generating",
    "generation.step.completed": "generating",
    "generation.job.completed": "completed",
    "generation.job.failed": "failed",
    "generation.job.cancelled": "cancelled",
}
_FINAL: Final = ("generation.job.completed", "generation.job.failed", "generation.job.cancelled")


def _field(name: str) -> str:
    """A context field as text, whether it came as a string or as a number."""
    return f"if(context['{name}'] != '', context['{name}'], JSONExtractString(context_typed, '{name}'))"


def _number(name: str) -> str:
    return (
        f"toFloat64OrNull(if(context['{name}'] != '', context['{name}'], "
        f"JSONExtractRaw(context_typed, '{name}')))"
    )


def _root(name: str) -> str:
    return f"JSONExtract(attributes_typed, '{name}', 'Nullable(Float64)')"


_ACCEPTED: Final = "event = 'generation.job.accepted'"
_ENDED: Final = f"event IN {_FINAL}"

# {candidates} picks accepted jobs, {shown} filters what came of them; both are texts of this module.
_LIST: Final = f"""
WITH chosen AS (
  SELECT request_id, trace_id FROM logs WHERE {_ACCEPTED} AND request_id != '' AND %(candidates)s
)
SELECT jobs.*, roots.duration AS root_duration, roots.ratio AS ratio, roots.compute AS compute,
  roots.wasted AS wasted, roots.cost AS cost FROM (
  SELECT request_id AS id,
    anyIf(trace_id, trace_id != '') AS trace,
    anyIf({_field("model")}, {_ACCEPTED}) AS job_model,
    anyIf({_field("tier")}, {_ACCEPTED}) AS job_tier,
    anyIf({_field("resolution")}, {_ACCEPTED}) AS job_resolution,
    anyIf({_number("seconds")}, {_ACCEPTED}) AS job_seconds,
    argMaxIf({_number("step")}, ts, event = 'generation.step.completed') AS last_step,
    argMaxIf({_number("total_steps")}, ts, {_number("total_steps")} IS NOT NULL) AS steps,
    toUnixTimestamp64Nano(minIf(ts, {_ACCEPTED})) AS accepted,
    countIf({_ENDED}) AS ends,
    toUnixTimestamp64Nano(maxIf(ts, {_ENDED})) AS finished,
    argMaxIf({_field("media")}, ts, event = 'generation.job.completed') AS job_media,
    argMaxIf({_field("error")}, ts, event = 'generation.job.failed') AS failure,
    argMaxIf({_field("reason")}, ts, event = 'generation.job.failed') AS failure_reason,
    argMax(event, ({_ENDED}, ts, severity)) AS last_event
  FROM logs WHERE request_id IN (SELECT request_id FROM chosen) AND event IN {tuple(_STATUS_OF)}
  GROUP BY request_id
) AS jobs
LEFT JOIN (
  SELECT trace_id, any(duration) AS duration,
    any({_root("rushes.attributed_ratio")}) AS ratio,
    any({_root("rushes.compute_seconds")}) AS compute,
    any({_root("rushes.wasted_compute_seconds")}) AS wasted,
    any({_root("rushes.compute_cost_usd")}) AS cost
  FROM spans
  WHERE name = 'video_generation_request' AND trace_id IN (SELECT trace_id FROM chosen)
  GROUP BY trace_id
) AS roots ON jobs.trace = roots.trace_id
WHERE %(shown)s
ORDER BY accepted DESC, id LIMIT {{limit:UInt32}}"""


@dataclass(frozen=True, slots=True)
class VideoRow:
    """One video. Times are nanoseconds; None and "" say that it isn't known (yet).

    `media` is the content-addressed name of the file; `attributed_ratio` and what follows are the root span's:
    the device time of all attempts, the part of it that brought nothing, and what all of it cost.
    """

    request_id: str
    trace_id: str
    model: str
    tier: str
    status: VideoStatus
    step: int | None
    total_steps: int | None
    accepted_ns: int
    finished_ns: int | None
    duration_ns: int | None
    resolution: str
    seconds: float | None
    media: str
    error: str
    attributed_ratio: float | None
    compute_s: float | None = None
    wasted_s: float | None = None
    cost_usd: float | None = None


class Videos:
    """Reads what became of videos. All methods block."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def list(
        self,
        limit: int = 50,
        before_ns: int | None = None,
        model: str | None = None,
        status: str | None = None,
    ) -> list[VideoRow]:
        """Videos by the time they were accepted, newest first.

        Args:
            limit: at most so many.
            before_ns: only those accepted before this time, for the next page.
            model: only this model's.
            status: only those in this state; raises ValueError if there is no such state.
        """
        params: dict[str, Param] = {"limit": limit}
        candidates, shown = ["1"], "1"
        if before_ns is not None:
            candidates.append("ts < fromUnixTimestamp64Nano({before_ns:Int64})")
            params["before_ns"] = before_ns
        if model is not None:
            candidates.append(f"{_field('model')} = {{model:String}}")
            params["model"] = model
        if status is None:
            # The newest jobs are the result; with a status they can only be told after grouping.
            order = " ORDER BY toStartOfMinute(ts) DESC, ts DESC LIMIT {limit:UInt32}"
        else:
            order = ""
            events = [event for event, means in _STATUS_OF.items() if means == status]
            if not events:
                raise ValueError(f"status must be one of {', '.join(VIDEO_STATUSES)}, not {status!r}")
            shown = "last_event IN {events:Array(String)}"
            params["events"] = events
        sql = _LIST % {"candidates": " AND ".join(candidates) + order, "shown": shown}
        return [_video(row) for row in self._store.rows(sql, params)]

    def get(self, request_id: str) -> VideoRow | None:
        """The video of this request, or None when no such job was accepted."""
        sql = _LIST % {"candidates": "request_id = {request_id:String}", "shown": "1"}
        rows = self._store.rows(sql, {"request_id": request_id, "limit": 1})
        return _video(rows[0]) if rows else None


def _video(row: Row) -> VideoRow:
    finished = row["finished"] if row["ends"] else None
    took = row["root_duration"] or (None if finished is None else finished - row["accepted"])
    return VideoRow(
        request_id=row["id"],
        trace_id=row["trace"],
        model=row["job_model"],
        tier=row["job_tier"],
        status=_STATUS_OF[row["last_event"]],
        step=_integer(row["last_step"]),
        total_steps=_integer(row["steps"]),
        accepted_ns=row["accepted"],
        finished_ns=finished,
        duration_ns=took,
        resolution=row["job_resolution"],
        seconds=row["job_seconds"],
        media=row["job_media"],
        error=row["failure"] or row["failure_reason"],
        attributed_ratio=row["ratio"],
        compute_s=row["compute"],
        wasted_s=row["wasted"],
        cost_usd=row["cost"],
    )


def _integer(value: float | None) -> int | None:
    return None if value is None else int(value)
