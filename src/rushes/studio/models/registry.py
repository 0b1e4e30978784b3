"""Names to cards (without torch) and to backends (with it, when asked for).

VEO3 is not here: it is an API, not weights.
"""

from __future__ import annotations

import time
from importlib import import_module
from typing import TYPE_CHECKING

from rushes.studio.models import small
from rushes.studio.models.cards import NAMES, SMALL, card_of, checkpoint
from rushes.studio.models.errors import UnknownModel, WeightsMissing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from rushes.studio.models.base import DiffusersBackend
    from rushes.studio.models.card import ModelCard

_BACKENDS = {
    "MochiPipeline": ("rushes.studio.models.mochi", "MochiBackend"),
    "LTX2Pipeline": ("rushes.studio.models.ltx2", "Ltx2Backend"),
    "LattePipeline": ("rushes.studio.models.latte", "LatteBackend"),
}


def available(weights: Mapping[str, Path | None]) -> dict[str, ModelCard]:
    """The card of every model; `weights` points names at folders of real weights (None or absent: the small one).

    Imports neither torch nor diffusers.

    Raises:
        UnknownModel: `weights` names a model that does not exist.
        WeightsMissing: a folder is not a whole checkpoint of its model.
    """
    for name in weights:
        if name not in NAMES:
            raise UnknownModel(f"there is no model {name}; there are {', '.join(NAMES)}")
    cards = {}
    for name in NAMES:
        folder = weights.get(name)
        if folder is None:
            shipped = small.shipped(name)
            cards[name] = SMALL[name] if shipped is None else card_of(checkpoint(name, shipped))
        else:
            pointed = checkpoint(name, folder)
            pointed.check()
            cards[name] = card_of(pointed)
    return cards


def offered(weights: Mapping[str, Path | None]) -> tuple[dict[str, ModelCard], dict[str, str]]:
    """The cards of the models that can be served, and for each of the others why it can't.

    Raises:
        UnknownModel: `weights` names a model that does not exist.
    """
    cards, missing = {}, {}
    for name in (*NAMES, *sorted(weights.keys() - set(NAMES))):
        try:
            cards[name] = available({name: weights.get(name)})[name]
        except WeightsMissing as error:
            missing[name] = str(error)
    return cards, missing


def locate(name: str, weights: Path | None, cache: Path, *, setting: str | None = None) -> Path:
    """The folder to load `name` from: `weights`, or the small checkpoint, trained or else built in `cache`.

    `setting` is what the user calls the setting that points at `weights`, for the error.

    Raises:
        UnknownModel: there is no such model.
        WeightsMissing: `weights`, or what came with the package, is not a whole checkpoint of the model.
    """
    if weights is None:
        return small.find(name) or small.build(name, cache)
    checkpoint(name, weights, setting).check()
    return weights


def backend(
    name: str,
    folder: Path,
    device: str = "cpu",
    *,
    dtype: str | None = None,
    setting: str | None = None,
    monotonic_ns: Callable[[], int] = time.monotonic_ns,
) -> DiffusersBackend:
    """A backend for `name` over the checkpoint in `folder`; nothing is loaded yet.

    Raises:
        UnknownModel: there is no such model.
        WeightsMissing: the folder does not hold a checkpoint of it.
    """
    weights = checkpoint(name, folder, setting)
    card = card_of(weights)
    module, class_name = _BACKENDS[card.pipeline]
    made: DiffusersBackend = getattr(import_module(module), class_name)(
        card, weights, device, dtype=dtype, monotonic_ns=monotonic_ns
    )
    return made
