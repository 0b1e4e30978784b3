"""What LTX2 is trained with: spectra that keep what is heard, knocks that can be found, words that are whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from training import captions, ltx2_sound, spectra, text, world


def _tone(hertz: float, loudness: float = 0.5) -> torch.Tensor:
    return loudness * torch.sin(2 * torch.pi * hertz * torch.arange(16_000) / 16_000)[None]


@pytest.mark.parametrize("hertz", [150.0, 400.0, 620.0, 3000.0])
def test_a_tone_is_loudest_in_its_bin_and_spectra_lie_within_reach(hertz: float) -> None:
    seen = spectra.spectra(_tone(hertz))
    assert seen.shape == (1, 2, 101, spectra.BINS)
    assert (seen[:, 0] == seen[:, 1]).all()
    bins = seen[0, 0, 50]
    mel = 2595 * np.log10(1 + np.array([40.0, hertz, 8000.0]) / 700)
    expected = (mel[1] - mel[0]) / (mel[2] - mel[0]) * (spectra.BINS + 1) - 1
    assert int(bins.argmax()) == pytest.approx(expected, abs=1)
    assert -2.5 < float(seen.min()) < float(seen.max()) < 1.5


def test_the_distance_of_sounds_grows_with_their_difference() -> None:
    same = spectra.distance(_tone(400), _tone(400))
    near = spectra.distance(_tone(400), _tone(400, 0.4))
    far = spectra.distance(_tone(400), _tone(900))
    assert float(same) == 0
    assert 0 < float(near) < float(far)


def test_knocks_are_found_where_the_world_made_them() -> None:
    for seed in range(20):
        made = world.bouncing_scene(seed)
        expected = [ltx2_sound.SECONDS * one for one in made.main.impacts()]
        heard = ltx2_sound.onsets(ltx2_sound.wave(made).numpy(), spectra.RATE)
        assert heard == pytest.approx(expected, abs=0.02)


def test_silence_has_no_knocks() -> None:
    assert ltx2_sound.onsets(np.zeros(16_000), spectra.RATE) == []


def test_known_words_are_whole_for_gemma_wherever_they_stand() -> None:
    tokenizer, _ = text.gemma(32, 64, 1)
    for shape, colour, direction in world.held_out_combinations()[::7]:
        said = captions.simple(shape, colour, direction)
        assert tokenizer.tokenize(said) == [
            word if place == 0 else text.WORD_START + word for place, word in enumerate(said.split())
        ]
    assert tokenizer.convert_ids_to_tokens(tokenizer("").input_ids) == ["<bos>"]
    assert "<unk>" not in tokenizer.tokenize("Zebras, jumping over (quick) foxes!")
