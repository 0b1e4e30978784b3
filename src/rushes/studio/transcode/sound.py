"""The soundtrack as the AAC encoder wants it: a rate it knows, no more and no fewer samples than the picture lasts."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Final

import av
import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Samples = npt.NDArray[np.float32]

LAYOUTS: Final = {1: "mono", 2: "stereo", 6: "5.1"}
AAC_RATES: Final = (7350, 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)


@dataclass(frozen=True, slots=True)
class Soundtrack:
    """Planar float32 `samples` (channels, n) in [-1, 1] at `rate` hertz, which AAC supports."""

    samples: Samples
    rate: int
    layout: str

    def frame(self) -> av.AudioFrame:
        """All of it as one frame that starts at 0; the encoder cuts it into its own."""
        frame = av.AudioFrame.from_ndarray(self.samples, format="fltp", layout=self.layout)
        frame.sample_rate = self.rate
        frame.pts = 0
        frame.time_base = Fraction(1, self.rate)
        return frame


def check(audio: Samples, rate: int | None) -> int:
    """Its rate in hertz. ValueError if it is no (channels, samples) float32 sound that can be encoded."""
    if rate is None or rate <= 0:
        raise ValueError(f"audio needs its sample rate in hertz (a positive whole number), got {rate!r}")
    if len(audio.shape[1:]) != 1 or audio.dtype != np.float32:
        raise ValueError(
            f"audio must be float32 of shape (channels, samples), got {audio.dtype} of shape {audio.shape}"
        )
    channels, count = audio.shape
    if channels not in LAYOUTS:
        known = ", ".join(f"{n} ({name})" for n, name in LAYOUTS.items())
        raise ValueError(f"audio has {channels} channels; the encoder takes {known}")
    if not count:
        raise ValueError("audio has no samples; leave it out if there is none")
    if wrong := int(np.count_nonzero(~np.isfinite(audio))):
        raise ValueError(f"audio has {wrong} samples that are not finite numbers")
    return rate


def prepare(audio: Samples, rate: int, duration: Fraction) -> Soundtrack:
    """`audio` cut, or padded with silence, to `duration` seconds, and resampled if AAC doesn't know its rate."""
    layout = LAYOUTS[audio.shape[0]]
    samples = np.clip(_fit(audio, round(duration * rate)), -1.0, 1.0)
    target = next((known for known in AAC_RATES if known >= rate), AAC_RATES[-1])
    if target != rate:
        resampler = av.AudioResampler(format="fltp", layout=layout, rate=target)
        source = Soundtrack(samples, rate, layout).frame()
        parts = [frame.to_ndarray() for frame in (*resampler.resample(source), *resampler.resample(None))]
        samples = np.clip(_fit(np.concatenate(parts, axis=1), round(duration * target)), -1.0, 1.0)
    return Soundtrack(np.ascontiguousarray(samples, dtype=np.float32), target, layout)


def _fit(samples: Samples, count: int) -> Samples:
    missing = count - samples.shape[1]
    return np.pad(samples, ((0, 0), (0, missing))) if missing > 0 else samples[:, :count]
