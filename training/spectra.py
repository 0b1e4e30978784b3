"""Sound as LTX2 has it: stereo mel spectra, 100 a second, and how far two sounds lie apart."""

from __future__ import annotations

from functools import cache

import torch
from torch.nn import functional

RATE, HOP, BINS = 16_000, 160, 32
_WINDOW = 640  # samples; 25 Hz a bin: hums that differ in speed differ in bins
_LOUDEST, _SPAN = 1.0, 5.0  # of the logarithm, so that spectra lie in about -1 .. 1


@cache
def _filters() -> torch.Tensor:
    """Triangles that are even in mel, from 40 Hz to half the rate, (bins, frequencies)."""
    low, high = (2595 * torch.log10(torch.tensor(1 + hertz / 700)) for hertz in (40.0, RATE / 2))
    corners = 700 * (10 ** (torch.linspace(float(low), float(high), BINS + 2) / 2595) - 1)
    frequencies = torch.linspace(0, RATE / 2, _WINDOW // 2 + 1)
    left, middle, right = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    # Never narrower than what the window tells apart, or the lowest triangles would be empty.
    least = torch.tensor(RATE / _WINDOW)
    rising = (frequencies - torch.minimum(left, middle - least)) / torch.maximum(middle - left, least)
    falling = (torch.maximum(right, middle + least) - frequencies) / torch.maximum(right - middle, least)
    return torch.minimum(rising, falling).clamp(min=0)


def magnitudes(waves: torch.Tensor, window: int, hop: int) -> torch.Tensor:
    """The short-time spectra of waves (n, samples): (n, frequencies, times)."""
    shape = torch.hann_window(window)
    return torch.stft(waves, window, hop, window=shape, return_complex=True).abs()


def spectra(waves: torch.Tensor) -> torch.Tensor:
    """Waves (n, samples) as stereo mel spectra (n, 2, times, bins); one more time than whole hops."""
    mel = torch.einsum("bf,nft->ntb", _filters(), magnitudes(waves, _WINDOW, HOP))
    scaled = (torch.log(mel.clamp(min=1e-4)) - _LOUDEST) / _SPAN
    return scaled[:, None].expand(-1, 2, -1, -1)


def distance(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """How different two sounds (n, samples) are to the ear: spectra of three resolutions, their logarithms too."""
    total = one.new_zeros(())
    for window in (256, 640, 1536):
        a, b = (magnitudes(wave, window, window // 4) for wave in (one, other))
        total = total + functional.l1_loss(a.clamp(min=1e-3).log(), b.clamp(min=1e-3).log())
        total = total + 4 * (a - b).square().mean().sqrt() / (b.square().mean().sqrt() + 1e-2)
    return total
