"""A video in words: how it stands, what was asked for, where its time went, why it failed.

The texts are made here once, so that a page says the same when it is loaded and when it is updated live.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from rushes.catalog import ROOT
from rushes.query import SpanRow, VideoRow, VideoStatus
from rushes.web import numbers
from rushes.web.tones import STAGE_KINDS, series_tone, stage_kind, state

__all__ = ["failure", "iso", "stages", "video_fields", "video_story"]

_NS: Final = 1_000_000_000
_NONE: Final = "\N{EN DASH}"  # not known (yet)

_WORDS: Final[Mapping[VideoStatus, str]] = {
    "queued": "Queued",
    "encoding": "Reading the prompt",
    "waiting": "Waiting for a worker",
    "generating": "Generating",
    "completed": "Completed",
    "failed": "Failed",
    "cancelled": "Cancelled",
}

_ENDED: Final = frozenset({"completed", "failed", "cancelled"})

_REASONS: Final[Mapping[str, str]] = {
    "timeout": "It took longer than its tier allows and was stopped. Look for the longest stage below.",
    "cuda_error": "The GPU reported an error. The log has it; if it comes again on one worker, drain that worker.",
    "oom": "The GPU ran out of memory. Ask for fewer seconds or a smaller resolution, or give it a larger GPU.",
    "safety_block": "The safety checks refused it. Nothing was charged.",
    "checkpoint": "Its checkpoint could not be written or read back. Check the checkpoint folder's disk.",
    "provider": "The model's provider refused the request or did not answer; the error says which.",
    "storage": "The finished video could not be stored. Check that the storage can be reached and has room.",
    "internal": "The worker hit an error of its own. The log and the hatched span have the details.",
}

_STAGE_WORDS: Final[Mapping[str, str]] = {
    "gateway": "Gateway",
    "rushes.encode_wait": "Wait for encoding",
    "prompt_processing": "Prompt processing",
    "queue_wait": "Queue wait",
    "worker_setup": "Worker setup",
    "dit_inference": "DiT inference",
    "vae_decode": "VAE decode",
    "audio_generation": "Audio generation",
    "rushes.provider": "Provider",
    "rushes.interrupted": "Lost with its worker",
    "safety_postgen": "Safety check",
    "watermark": "Watermark",
    "transcode": "Transcode",
    "upload": "Upload",
}


def iso(time_ns: int) -> str:
    """Unix nanoseconds as ISO 8601 in UTC, to the millisecond."""
    return (
        datetime.fromtimestamp(time_ns / _NS, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )


def video_fields(video: VideoRow, now_ns: int, silent_ns: int | None = None) -> dict[str, Any]:
    """A video as a row of the list: each field is the text or value that the row shows.

    `silent_ns` is when the last news of it came, if that is remarkably long ago.
    """
    ended = video.status in _ENDED
    took = (
        video.duration_ns
        if video.duration_ns is not None
        else (None if ended else now_ns - video.accepted_ns)
    )
    shape = " · ".join(
        text for text in (video.resolution, f"{video.seconds:g} s" if video.seconds else None) if text
    )
    fields: dict[str, Any] = {
        "id": video.request_id,
        "status": "Decoding" if _decodes(video) else _WORDS[video.status],
        "state": state(video.status),
        "model": video.model or _NONE,
        "tone": series_tone(video.model) if video.model else 0,
        "tier": video.tier or _NONE,
        "shape": shape or _NONE,
        "step": video.step or 0,
        "total": video.total_steps or 0,
        "running": not ended,
        "steps": f"{video.step or 0}/{video.total_steps}" if video.total_steps else "",
        "took": numbers.duration(took / _NS) if took is not None else _NONE,
        "took_exact": f"{took / _NS:.3f} s" if took is not None else "",
        "accepted": iso(video.accepted_ns),
        "accepted_ms": video.accepted_ns // 1_000_000,
        "silent": iso(silent_ns) if silent_ns is not None else "",
        "silent_ms": silent_ns // 1_000_000 if silent_ns is not None else 0,
        "took_s": took / _NS if took is not None else "",
    }
    return fields


def _decodes(video: VideoRow) -> bool:
    """Whether all its steps are done and what follows them is not: its frames are being decoded and delivered."""
    return (
        video.status == "generating"
        and bool(video.total_steps)
        and (video.step or 0) >= (video.total_steps or 0)
    )


def video_story(
    video: VideoRow, spans: Sequence[SpanRow], now_ns: int, silent_ns: int | None = None
) -> dict[str, Any]:
    """All that the video's page says beside the player; `silent_ns` as for `video_fields`."""
    fields = video_fields(video, now_ns, silent_ns)
    shares, total_ns, open_ns = stages(video, spans, now_ns)
    ratio = video.attributed_ratio
    facts = {
        "model": fields["model"],
        "tier": fields["tier"],
        "resolution": (video.resolution or _NONE).replace("x", " \N{MULTIPLICATION SIGN} "),
        "length": f"{video.seconds:g} s" if video.seconds else _NONE,
        "steps": fields["steps"] or _NONE,
        "total": fields["took"],
        "compute": _compute(video),
        "cost": numbers.usd(video.cost_usd) if video.cost_usd is not None else _NONE,
        "attributed": numbers.percent(ratio) if ratio is not None else _NONE,
    }
    return {
        "id": video.request_id,
        "trace_id": video.trace_id,
        "status": fields["status"],
        "state": fields["state"],
        "running": fields["running"],
        "step": fields["step"],
        "total": fields["total"],
        "media": f"/media/{video.media}" if video.media and video.status == "completed" else None,
        "headline": _headline(video, fields, spans),
        "facts": facts,
        "stages": shares,
        "stages_total": total_ns,
        "open_ns": open_ns,
        "error": failure(video, spans) if video.status == "failed" else None,
        "accepted": fields["accepted"],
        "silent": fields["silent"],
        "silent_ms": fields["silent_ms"],
    }


def _compute(video: VideoRow) -> str:
    """The time of workers' devices that it took, and how much of that came to nothing."""
    if video.compute_s is None:
        return _NONE
    wasted = f", {numbers.duration(video.wasted_s)} wasted" if video.wasted_s else ""
    return numbers.duration(video.compute_s) + wasted


def _interrupted(video: VideoRow, spans: Sequence[SpanRow]) -> bool:
    """Whether the last that is known of an unfinished video is that its worker was lost."""
    ends = [span.start_ns + span.duration_ns for span in spans if span.name == "rushes.interrupted"]
    return (
        video.status not in _ENDED
        and bool(ends)
        and not any(span.start_ns > max(ends) for span in spans if span.name.startswith("step_"))
    )


def _headline(video: VideoRow, fields: Mapping[str, Any], spans: Sequence[SpanRow]) -> str:
    if _interrupted(video, spans):
        return "Its worker was lost; another goes on with it"
    if video.status in _ENDED:
        return f"{fields['status']} in {fields['took']}" if fields["took"] != _NONE else str(fields["status"])
    if video.status == "generating" and video.total_steps and not _decodes(video):
        return f"Generating, step {video.step or 0} of {video.total_steps}"
    return str(fields["status"])


def stages(video: VideoRow, spans: Sequence[SpanRow], now_ns: int) -> tuple[list[dict[str, Any]], int, int]:
    """Where the time went: each stage with its time, the whole, and what no stage accounts for (nanoseconds).

    Stages that overlap (a wait ended by the assignment inside it) are each shown whole; the rest is what is
    covered by none.
    """
    runs: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for span in spans:
        if span.name in _STAGE_WORDS:
            runs[span.name].append((span.start_ns, span.start_ns + span.duration_ns))
    if "dit_inference" not in runs:  # its span comes when it ends; the steps done tell of it before
        runs["dit_inference"] = [
            (span.start_ns, span.start_ns + span.duration_ns)
            for span in spans
            if stage_kind(span.name) == "dit"
        ]
    runs = {name: found for name, found in runs.items() if found}
    root = next((span for span in spans if span.name == ROOT), None)
    # the event of the acceptance is logged a little after the root span begins
    begin = (
        root.start_ns if root else min([video.accepted_ns, *(start for r in runs.values() for start, _ in r)])
    )
    end = begin + (root.duration_ns if root else video.duration_ns or (video.finished_ns or now_ns) - begin)
    total = max(1, end - begin)
    covered = _covered([run for found in runs.values() for run in found], begin, end)
    shares = []
    for name, found in sorted(runs.items(), key=lambda item: min(item[1])):
        spent = _covered(found, *min_max(found))
        shares.append(
            {
                "name": _STAGE_WORDS[name],
                "kind": STAGE_KINDS[name],
                "ns": spent,
                "text": numbers.duration(spent / _NS),
                "share": numbers.percent(spent / total),
            }
        )
    return shares, total, max(0, total - covered)


def min_max(runs: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The earliest start and the latest end."""
    return min(start for start, _ in runs), max(end for _, end in runs)


def _covered(runs: Sequence[tuple[int, int]], begin: int, end: int) -> int:
    covered, at = 0, begin
    for start, stop in sorted(runs):
        low, high = max(start, at), min(stop, end)
        if high > low:
            covered += high - low
            at = high
    return covered


def failure(video: VideoRow, spans: Sequence[SpanRow]) -> dict[str, str]:
    """What went wrong, where, and what to do.

    The words are advice on the failure's reason, with what the studio said beside them; what it said of an error
    of its own (a worker that died, say) is clearer than any advice, and stands alone.
    """
    said = video.error.strip()
    reason = said if said in _REASONS else _reason(spans)
    failed = [s for s in spans if s.status == "error" and s.name != ROOT]
    inner = [s for s in failed if not any(c.parent_span_id == s.span_id for c in failed)]
    where = max(inner, key=lambda s: s.start_ns, default=None)
    if said and said != reason and reason in ("", "internal"):
        words, detail = f"{said[0].upper()}{said[1:].removesuffix('.')}.", ""
    else:
        words = _REASONS.get(reason, "It failed without saying why. The log below may tell.")
        detail = said if said != reason else where.status_message if where else ""
    return {
        "reason": reason,
        "words": words,
        "where": where.name if where else "",
        "span_id": where.span_id if where else "",
        "detail": detail,
    }


def _reason(spans: Sequence[SpanRow]) -> str:
    found = (span.attributes.get("error.type") for span in spans if span.name == ROOT)
    return next((value for value in found if isinstance(value, str) and value in _REASONS), "")
