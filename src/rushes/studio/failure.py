"""What a failed job says: the error's code and text for the caller, and the reason that the metrics count."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import Final

from rushes.catalog import Reason
from rushes.sdk.tracing import Stopped
from rushes.studio.models.errors import CheckpointError, UnknownModel, UnsupportedRequest, WeightsMissing
from rushes.studio.storage import StorageError
from rushes.studio.transcode import TranscodeError

__all__ = [
    "Cancelled",
    "EncodingLost",
    "Failure",
    "ProviderError",
    "SafetyBlocked",
    "TimeLimitExceeded",
    "classify",
]


class Cancelled(Stopped):
    """The job was cancelled, or given up by somebody else, while it was worked on."""


class SafetyBlocked(Stopped):
    """The prompt may not be rendered. Carries the category, never the term."""

    def __init__(self, category: str) -> None:
        super().__init__(category)
        self.category = category


class EncodingLost(Exception):  # noqa: N818 - it says what happened
    """The encoded prompt is not where the encode worker left it, or is damaged: it has to be encoded again."""


class ProviderError(Exception):
    """Somebody else's API made no video; carries what to say of it, and whether it may make it another time."""

    def __init__(
        self,
        reason: Reason,
        code: str,
        message: str,
        *,
        transient: bool = False,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.failure: Final = Failure(reason, code, message, transient, retry_after_s)


class TimeLimitExceeded(Exception):  # noqa: N818 - it says what happened
    """The job took longer than its tier allows."""


@dataclass(frozen=True, slots=True)
class Failure:
    """`code` and `message` go to the caller, `reason` is the label of video_generation_failure_total.

    `transient`: the same may go well another time, and not before `retry_after_s` if that is known.
    """

    reason: Reason
    code: str
    message: str
    transient: bool = False
    retry_after_s: float | None = None


# Our own errors, whose texts are fit for the caller: the type, the reason, the code.
_TOLD: Final[tuple[tuple[type[Exception], Reason, str], ...]] = (
    (WeightsMissing, "checkpoint", "model_unavailable"),
    (CheckpointError, "checkpoint", "render_failed"),
    (EncodingLost, "checkpoint", "render_failed"),
    (UnknownModel, "checkpoint", "model_unavailable"),
    (UnsupportedRequest, "checkpoint", "render_failed"),
    (StorageError, "storage", "storage_error"),
    (TranscodeError, "storage", "storage_error"),
    (TimeLimitExceeded, "timeout", "time_limit_exceeded"),
)


def classify(error: BaseException, *, doing: str) -> Failure:
    """What to say of an error that ended a job while `doing` (a stage's name).

    Texts of our own errors are passed on; a library's text may quote its input and is not.
    """
    if isinstance(error, SafetyBlocked):
        text = f"the prompt was blocked by the content policy (category {error.category}); change it and try again"
        return Failure("safety_block", "content_policy_violation", text)
    if isinstance(error, ProviderError):
        return error.failure
    for kind, reason, code in _TOLD:
        if isinstance(error, kind):
            return Failure(reason, code, str(error))
    name = type(error).__name__
    if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EROFS}:
        where = f" at {error.filename}" if error.filename else ""
        text = (
            f"the disk is full or read-only{where} ({error.strerror}); make room and submit the video again"
        )
        failure = Failure("storage", "storage_error", text)
    elif name == "OutOfMemoryError" or isinstance(error, MemoryError):
        text = f"out of memory during {doing}; ask for a smaller size or fewer seconds"
        failure = Failure("oom", "out_of_memory", text, transient=True)
    elif name == "AcceleratorError" or "CUDA error" in str(error):
        text = f"a CUDA error ended {doing}; submit the video again"
        failure = Failure("cuda_error", "gpu_error", text, transient=True)
    else:
        text = f"{name} during {doing}; submit the video again, or see the trace"
        failure = Failure("internal", "internal_error", text)
    return failure
