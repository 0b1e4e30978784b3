"""What a model offers, as data the gateway can check a request against without importing torch (3 s)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

from rushes.studio.models.errors import UnsupportedRequest

MAX_SEED = 2**63 - 1
MAX_GUIDANCE = 30.0


@dataclass(frozen=True, slots=True)
class Picture:
    """A video's first frame, as the caller wants it: a PNG of the video's size. Only its SHA-256 shows in a `repr`."""

    png: bytes = field(repr=False)
    sha256: str

    @classmethod
    def of(cls, png: bytes) -> Self:
        """The picture that these bytes are."""
        return cls(png, hashlib.sha256(png).hexdigest())


@dataclass(frozen=True, slots=True)
class RenderRequest:
    """One video to denoise: sizes in pixels, `fps` in frames a second; `seed` settles all randomness."""

    width: int
    height: int
    num_frames: int
    steps: int
    seed: int
    guidance_scale: float
    fps: int
    picture: Picture | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """A model's limits and defaults.

    Durations are seconds, sizes pixels (both sides multiples of `size_multiple`), `prompt_limit` characters.
    Frames come in groups: a video has `frame_group * k + 1` of them, or exactly `fixed_frames` where the
    architecture allows one count only. A model that somebody else runs has `sizes` and `durations` to choose from
    instead, no steps, and perhaps no seed (`max_seed` None) and no guidance that can be chosen. One that
    `takes_picture` can begin a video with a given frame.
    """

    name: str
    pipeline: str
    text_encoder_role: str
    has_audio: bool
    fps: int
    default_seconds: float
    min_seconds: float
    max_seconds: float
    default_width: int
    default_height: int
    min_size: int
    max_width: int
    max_height: int
    size_multiple: int
    default_steps: int
    max_steps: int
    default_guidance: float
    prompt_limit: int
    min_steps: int = 1
    frame_group: int = 1
    fixed_frames: int | None = None
    small: bool = False
    sizes: tuple[tuple[int, int], ...] = ()
    durations: tuple[float, ...] = ()
    max_seed: int | None = MAX_SEED
    takes_guidance: bool = True
    takes_picture: bool = False

    def frames_for(self, seconds: float) -> int:
        """The count of frames that comes nearest to `seconds` and fits the architecture.

        Raises:
            UnsupportedRequest: the model does not offer that duration.
        """
        if not self.min_seconds <= seconds <= self.max_seconds:  # also refuses NaN
            raise UnsupportedRequest(f"{self.name} makes {self._durations()}, not {seconds:g} s")
        if self.durations:
            if seconds not in self.durations:
                raise UnsupportedRequest(f"{self.name} makes {self._durations()}, not {seconds:g} s")
            return round(seconds * self.fps)
        if self.fixed_frames is not None:
            return self.fixed_frames
        return max(1, round(seconds * self.fps / self.frame_group)) * self.frame_group + 1

    def _durations(self) -> str:
        if self.durations:
            return f"videos of {_either(f'{one:g}' for one in self.durations)} s"
        if self.min_seconds == self.max_seconds:
            return f"videos of exactly {self.min_seconds:g} s"
        return f"videos of {self.min_seconds:g} to {self.max_seconds:g} s"

    def validate(self, width: int, height: int, seconds: float, steps: int) -> None:
        """Check a request against the card.

        Raises:
            UnsupportedRequest: the first thing that is wrong, with its value and what would do.
        """
        if self.sizes and (width, height) not in self.sizes:
            offered = _either(f"{one}x{other}" for one, other in self.sizes)
            raise UnsupportedRequest(
                f"size {width}x{height} is not offered by {self.name}: it takes {offered}"
            )
        for side, value, largest in (("width", width, self.max_width), ("height", height, self.max_height)):
            if not self.min_size <= value <= largest or value % self.size_multiple:
                raise UnsupportedRequest(
                    f"{side} {value} is not offered by {self.name}: it takes multiples of "
                    f"{self.size_multiple} from {self.min_size} to {largest}"
                )
        self.frames_for(seconds)
        if not self.max_steps and steps:
            raise UnsupportedRequest(f"steps can't be chosen for {self.name}; leave them out")
        if not self.min_steps <= steps <= self.max_steps:
            raise UnsupportedRequest(
                f"{self.name} takes {self.min_steps} to {self.max_steps} steps, not {steps}"
            )

    def check_seed(self, seed: int) -> None:
        """Check a seed that the caller chose. Raises UnsupportedRequest."""
        if self.max_seed is None:
            raise UnsupportedRequest(f"a seed can't be chosen for {self.name}; leave it out")
        if not 0 <= seed <= self.max_seed:
            raise UnsupportedRequest(f"seed must be between 0 and {self.max_seed}, got {seed}")

    def request(
        self,
        *,
        seed: int,
        width: int | None = None,
        height: int | None = None,
        seconds: float | None = None,
        steps: int | None = None,
        guidance_scale: float | None = None,
    ) -> RenderRequest:
        """A validated render request; what is left out takes the card's default.

        Raises:
            UnsupportedRequest: a value lies outside what the card offers.
        """
        width = self.default_width if width is None else width
        height = self.default_height if height is None else height
        seconds = self.default_seconds if seconds is None else seconds
        steps = self.default_steps if steps is None else steps
        guidance = self.default_guidance if guidance_scale is None else guidance_scale
        self.validate(width, height, seconds, steps)
        if not 0 <= seed <= MAX_SEED:
            raise UnsupportedRequest(f"a seed lies between 0 and {MAX_SEED}, not {seed}")
        if not (math.isfinite(guidance) and 1.0 <= guidance <= MAX_GUIDANCE):
            raise UnsupportedRequest(
                f"a guidance scale lies between 1 and {MAX_GUIDANCE:g}, not {guidance:g}"
            )
        return RenderRequest(width, height, self.frames_for(seconds), steps, seed, guidance, self.fps)


def _either(offered: Iterable[str]) -> str:
    *others, last = offered
    return f"{', '.join(others)} or {last}" if others else last
