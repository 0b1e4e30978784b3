"""How much a client may send: everything beyond is refused with its reason, and never costs the process."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BodyTooLarge", "Limits", "Overloaded", "UndecodableBody", "expandable"]


class BodyTooLarge(Exception):  # noqa: N818  says what happened
    """The body is larger than allowed, as sent or after inflation."""


class UndecodableBody(Exception):  # noqa: N818  says what happened
    """The body isn't what its headers say."""


class Overloaded(Exception):  # noqa: N818  says what happened
    """There is more at hand than can be taken now: worth repeating later."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What ingest accepts.

    Attributes:
        body_bytes: size of a request after inflation.
        body_s: seconds that a client may take to send a request.
        value_length: characters of an attribute's value; longer ones are cut.
        attributes: attributes of a span or log record; further ones are dropped.
        expanded_bytes: size of a request once what its items share (resources, scopes, names, symbols) is written
            out with each of them.
        buckets: buckets of a histogram, or quantiles of a summary.
        exemplars: exemplars of a request; further ones are dropped.
        labels: labels of a series, job and instance included; a point with more is refused.
        series_per_metric: distinct series that a metric may have within `series_active_s`.
        series: distinct series in all.
        series_active_s: seconds without a sample after which a series no longer counts.
        future_s: how far ahead of this clock a timestamp may be, in seconds.
        pending: requests that may wait for the store at once.
        held_bytes: bytes of requests that may be in memory at once.
    """

    body_bytes: int = 20 << 20
    body_s: int = 60
    value_length: int = 4096
    attributes: int = 256
    expanded_bytes: int = 200 << 20
    buckets: int = 4096
    exemplars: int = 10_000
    labels: int = 64
    series_per_metric: int = 50_000
    series: int = 1_000_000
    series_active_s: int = 7200
    future_s: int = 600
    pending: int = 64
    held_bytes: int = 256 << 20


def expandable(size: int, limits: Limits) -> None:
    """Make sure that a request stays small enough once what its items share is written out with each of them.

    Raises:
        BodyTooLarge: a few bytes that everything refers to would become more than can be held.
    """
    if size > limits.expanded_bytes:
        raise BodyTooLarge(
            f"the body has {size} bytes once what its items share is written out, more than {limits.expanded_bytes}"
        )
