"""The log events: what may stand in a line's `event`, and which fields its `context` may have.

A closed list keeps prompts out of logs by construction: a field that no event declares is not written.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from rushes.catalog.model import Attribute, Level, LogEvent

__all__ = ["EVENTS"]

_FIELDS: Final = {
    "model": "the model",
    "tier": "the customer's tier",
    "resolution": "width x height in pixels",
    "seconds": "length of the clip in seconds",
    "step": "the step's number, from 1",
    "total_steps": "steps of the whole loop",
    "step_duration_ms": "the step's time in milliseconds",
    "gpu_memory_used_gb": "device memory in use, where there is a device",
    "duration_seconds": "from acceptance to the end",
    "queue_wait_seconds": "time in the queue",
    "queue_depth": "jobs waiting",
    "retry_after_seconds": "time until the next try",
    "media": "content-addressed name of the stored video",
    "size_bytes": "size in bytes",
    "duration_ms": "how long it took, in milliseconds",
    "encoder": "the video encoder",
    "reason": "the failure's reason, as the metric's label has it",
    "error": "what went wrong and what to do",
    "code": "the error's code in the API",
    "category": "the safety category",
    "classifier": "which check decided",
    "rule_id": "the rule that matched, never the term",
    "prompt_hash": "keyed hash of the prompt",
    "prompt_length": "characters of the prompt",
    "load_seconds": "loading time",
    "worker_role": "encode, generate or all",
    "pid": "process id",
    "status": "state of the worker, or HTTP status",
    "address": "address that is listened on, or sent to",
    "key_id": "the API key's id, never the key",
    "key_last4": "last four characters of the key",
    "path": "file or folder",
    "signal": "spans, logs or metrics",
    "exit_code": "exit code of a process",
    "process": "name of a process",
    "gpu_index": "the GPU's index on its host",
    "xid": "NVIDIA's number for the error",
    "restarts": "how often it was restarted",
    "pipeline": "the class of a diffusers pipeline",
    "module": "a component's name and class",
    "job": "the label job of a scraped target",
    "instance": "the label instance of a scraped target",
}


def _event(name: str, level: Level, message: str, *fields: str) -> LogEvent:
    return LogEvent(
        name=name, level=level, message=message, fields=tuple(Attribute(f, _FIELDS[f]) for f in fields)
    )


_LIST: Final = (
    _event(
        "generation.job.accepted",
        Level.INFO,
        "job accepted",
        "model", "tier", "resolution", "seconds", "total_steps", "prompt_length", "prompt_hash",
    ),
    _event("generation.encode.started", Level.INFO, "prompt processing started", "model", "tier"),
    _event("generation.job.waiting", Level.INFO, "job waits for a GPU", "model", "tier", "queue_depth"),
    _event(
        "generation.job.assigned",
        Level.INFO,
        "job assigned to a worker",
        "model", "tier", "queue_wait_seconds",
    ),
    _event(
        "generation.model.loaded", Level.INFO, "model loaded", "model", "load_seconds", "worker_role", "path"
    ),
    _event(
        "generation.step.completed",
        Level.INFO,
        "denoising step completed",
        "model", "step", "total_steps", "step_duration_ms", "gpu_memory_used_gb",
    ),
    _event(
        "generation.checkpoint.saved",
        Level.DEBUG,
        "denoising state saved",
        "model", "step", "size_bytes", "duration_ms",
    ),
    _event(
        "generation.checkpoint.slow",
        Level.WARN,
        "checkpoint save slow",
        "model", "step", "size_bytes", "duration_ms",
    ),
    _event("generation.checkpoint.refused", Level.WARN, "checkpoint unusable", "model", "error"),
    _event(
        "generation.job.interrupted",
        Level.WARN,
        "job back on its queue: its worker was lost",
        "model", "tier", "pid", "step", "total_steps", "error",
    ),
    _event(
        "generation.job.retried",
        Level.WARN,
        "job back on its queue: another try may go well",
        "model", "tier", "reason", "retry_after_seconds", "error",
    ),
    _event("generation.model.evicted", Level.INFO, "model evicted", "model", "size_bytes", "worker_role"),
    _event(
        "generation.job.resumed",
        Level.INFO,
        "job taken up from a checkpoint",
        "model", "tier", "step", "total_steps",
    ),
    _event("generation.transcode.completed", Level.INFO, "video encoded", "model", "encoder", "size_bytes"),
    _event(
        "generation.job.completed",
        Level.INFO,
        "job completed",
        "model", "tier", "media", "size_bytes", "duration_seconds",
    ),
    _event(
        "generation.job.failed",
        Level.ERROR,
        "job failed",
        "model", "tier", "reason", "code", "error", "duration_seconds",
    ),
    _event("generation.job.cancelled", Level.INFO, "job cancelled", "model", "tier", "duration_seconds"),
    _event(
        "safety.pregen.blocked",
        Level.WARN,
        "prompt blocked before generation",
        "model", "tier", "category", "classifier", "rule_id", "prompt_hash",
    ),
    _event("gateway.request.refused", Level.WARN, "request refused", "status", "code", "key_id", "key_last4"),
    _event("gateway.request.failed", Level.ERROR, "request failed inside the gateway", "error"),
    _event("worker.started", Level.INFO, "worker started", "worker_role", "pid"),
    _event("worker.status.changed", Level.DEBUG, "worker changed state", "status"),
    _event("worker.lost", Level.ERROR, "worker lost", "pid", "worker_role", "error"),
    _event("worker.stopped", Level.INFO, "worker stopped", "worker_role", "pid"),
    _event("process.started", Level.INFO, "process started", "process", "pid", "address"),
    _event("process.exited", Level.ERROR, "process exited", "process", "pid", "exit_code", "restarts"),
    _event("ingest.refused", Level.WARN, "telemetry refused", "signal", "reason"),
    _event("ingest.store.failed", Level.ERROR, "telemetry could not be stored", "signal", "error"),
    _event("scrape.failed", Level.WARN, "a target could not be scraped", "job", "instance", "error"),
    _event(
        "telemetry.undelivered",
        Level.WARN,
        "no collector takes telemetry; it is given up and counted",
        "signal", "address",
    ),
    _event("telemetry.delivered", Level.INFO, "the collector takes telemetry again", "signal", "address"),
    _event(
        "instrument.unrecognised",
        Level.WARN,
        "the module map does not know this part of a pipeline; its steps are timed whole",
        "model", "pipeline", "module",
    ),
    _event("gpu.unavailable", Level.WARN, "no GPU is watched", "error"),
    _event("gpu.xid", Level.WARN, "the driver reported an XID error", "gpu_index", "xid", "error"),
    _event("webhook.failed", Level.WARN, "a webhook was not taken; it is sent again", "key_id", "error"),
    _event("webhook.given_up", Level.ERROR, "a webhook was never taken and is given up", "key_id", "error"),
    _event("log.message", Level.INFO, "a line from a library, as it wrote it", "error"),
)  # fmt: skip

EVENTS: Final[Mapping[str, LogEvent]] = MappingProxyType({e.name: e for e in _LIST})
