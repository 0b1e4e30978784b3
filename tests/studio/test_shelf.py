"""Models in a worker's memory: kept while there is room, the one that was not used for longest goes first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from recording import Recorded
from rushes.studio.shelf import Shelf

Make = Callable[[int | None], Shelf]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture
def make(folder: Path, recorded: Recorded) -> Make:
    return lambda room: Shelf("encode", {}, folder, "cpu", sample_every=0, memory_bytes=room)


def _use(shelf: Shelf, *names: str) -> None:
    for name in names:
        with shelf.use(name):
            pass


def _counts(recorded: Recorded) -> dict[str, float]:
    names = ("hits", "misses", "evictions")
    return {n: sum(recorded.metrics(f"rushes_model_cache_{n}_total").values()) for n in names}


def test_without_a_limit_all_stay(make: Make, recorded: Recorded) -> None:
    shelf = make(None)
    before = _counts(recorded)
    _use(shelf, "MOCHI1", "OPENSORA", "MOCHI1")
    assert shelf.warm() == {"MOCHI1", "OPENSORA"}
    assert {n: v - before[n] for n, v in _counts(recorded).items()} == {
        "hits": 1,
        "misses": 2,
        "evictions": 0,
    }


def test_a_models_size_is_that_of_its_parameters(make: Make) -> None:
    shelf = make(None)
    with shelf.use("MOCHI1") as backend:
        encoder = backend.pipeline("encode").text_encoder  # type: ignore[attr-defined]
        expected = sum(tensor.nbytes for tensor in (*encoder.parameters(), *encoder.buffers()))
    assert shelf.sizes() == {"MOCHI1": expected}


def test_the_one_not_used_for_longest_goes_and_comes_back(make: Make, recorded: Recorded) -> None:
    everything = make(None)
    _use(everything, "MOCHI1", "LTX2", "OPENSORA")
    sizes = everything.sizes()
    shelf = make(sum(sizes.values()) - 1)
    before = _counts(recorded)
    _use(shelf, "MOCHI1", "LTX2", "MOCHI1", "OPENSORA")
    assert shelf.warm() == {"MOCHI1", "OPENSORA"}
    _use(shelf, "LTX2")
    assert shelf.warm() == {"OPENSORA", "LTX2"}
    grown = {n: v - before[n] for n, v in _counts(recorded).items()}
    assert grown == {"hits": 1, "misses": 4, "evictions": 2}


def test_one_in_use_stays_even_if_that_is_too_much(make: Make) -> None:
    shelf = make(1)
    with shelf.use("MOCHI1") as first:
        with shelf.use("OPENSORA"):
            assert shelf.warm() == {"MOCHI1", "OPENSORA"}
            assert first.loaded
        _use(shelf, "OPENSORA")
        assert shelf.warm() == {"MOCHI1", "OPENSORA"}
    _use(shelf, "OPENSORA")
    assert shelf.warm() == {"OPENSORA"}
    assert not first.loaded


def test_as_many_are_loaded_beforehand_as_there_is_room_for(make: Make, recorded: Recorded) -> None:
    before = _counts(recorded)
    for room, loaded in ((None, {"MOCHI1", "OPENSORA"}), (1, set[str]())):
        shelf = make(room)
        for name in ("MOCHI1", "OPENSORA"):
            shelf.preload(name)
        assert shelf.warm() == loaded
    assert _counts(recorded) == before  # nobody asked for them yet
