"""What can go wrong with a model, as types: the gateway turns some into replies, the worker others into failures."""

from __future__ import annotations


class UnsupportedRequest(ValueError):  # noqa: N818 - the name is part of the models' interface
    """A size, duration or step count that the model does not offer; the text is fit for the client."""


class UnknownModel(LookupError):  # noqa: N818 - as above
    """A model name that no backend answers to."""


class WeightsMissing(RuntimeError):  # noqa: N818 - as above
    """A folder of weights that is absent, incomplete, corrupt or of another architecture."""


class CheckpointError(RuntimeError):
    """A saved text encoding or latent file that is missing, corrupt or of another model."""


class UnsavableState(RuntimeError):  # noqa: N818 - as above
    """A denoising loop whose scheduler remembers something that can't be written down."""


class NotLoaded(RuntimeError):  # noqa: N818 - as above
    """A backend was asked for work whose part of the model has not been loaded."""
