"""Spans with the catalog's names: as a context, after the fact, or for a root that another process finishes.

A video's root span begins in the gateway and ends in whichever process ends the job. Its ids are drawn at the
beginning (`new_root`), travel in the job's row, make every stage its child (`under`), and the span itself is
written once, at the end (`finish_root`).
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from opentelemetry import context as otel_context
from opentelemetry import trace as otel

from rushes.catalog import ROOT, declared_span
from rushes.sdk.finished import SCOPE, Tracers
from rushes.sdk.ids import chosen
from rushes.sdk.policy import reject

__all__ = [
    "AttributeValue",
    "Root",
    "Stopped",
    "finish_root",
    "new_root",
    "open_span",
    "record",
    "span",
    "under",
]

AttributeValue = str | bool | int | float | Sequence[str] | Sequence[int] | Sequence[float]
Attributes = Mapping[str, AttributeValue]

_TRACER: Final = otel.get_tracer(SCOPE)
_SAMPLED: Final = otel.TraceFlags(otel.TraceFlags.SAMPLED)
_TRACEPARENT: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")


class Stopped(Exception):  # noqa: N818 - no error
    """Base of exceptions that end a span without being its error: a cancellation, a verdict."""


@dataclass(frozen=True, slots=True)
class Root:
    """A root span that is open: 32 and 16 hex digits, and nanoseconds since the epoch.

    `parent_span_id` is the caller's span where the request brought a traceparent, else empty.
    """

    trace_id: str
    span_id: str
    started_ns: int
    parent_span_id: str = ""

    def _context(self, span_id: str) -> otel_context.Context:
        remote = otel.SpanContext(
            int(self.trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=_SAMPLED
        )
        return otel.set_span_in_context(otel.NonRecordingSpan(remote), otel_context.Context())

    def context(self) -> otel_context.Context:
        """The OpenTelemetry context in which this root is the current span."""
        return self._context(self.span_id)

    def parent_context(self) -> otel_context.Context:
        """The context that the root itself is started in."""
        return self._context(self.parent_span_id) if self.parent_span_id else otel_context.Context()


def new_root(traceparent: str | None = None) -> Root:
    """Ids for a root that begins now; with a W3C `traceparent`, in the caller's trace and under its span.

    A malformed traceparent is ignored, as W3C Trace Context demands.
    """
    match = _TRACEPARENT.fullmatch(traceparent or "")
    if match and int(match[1], 16) and int(match[2], 16):
        return Root(match[1], secrets.token_hex(8), time.time_ns(), match[2])
    return Root(secrets.token_hex(16), secrets.token_hex(8), time.time_ns())


@contextmanager
def under(parent: Root | otel.Span) -> Iterator[None]:
    """Spans inside become children of the root, or of a span that is open but not current."""
    context = parent.context() if isinstance(parent, Root) else otel.set_span_in_context(parent)
    token = otel_context.attach(context)
    try:
        yield
    finally:
        otel_context.detach(token)


def open_span(name: str, start_ns: int | None = None, attributes: Attributes | None = None) -> otel.Span:
    """A span that the caller ends itself, child of the current one and not made current."""
    _declared(name, attributes)
    return _TRACER.start_span(name, start_time=start_ns, attributes=attributes)


@contextmanager
def span(
    name: str, attributes: Attributes | None = None, *, start_ns: int | None = None
) -> Iterator[otel.Span]:
    """A span around a block. An exception that leaves the block is recorded, and is the span's error."""
    _declared(name, attributes)
    with _TRACER.start_as_current_span(
        name,
        start_time=start_ns,
        attributes=attributes,
        record_exception=False,
        set_status_on_exception=False,
    ) as current:
        try:
            yield current
        except Stopped:
            raise
        except Exception as error:
            current.record_exception(error)
            current.set_status(otel.StatusCode.ERROR, type(error).__name__)
            raise
        except BaseException as error:  # an interrupt or a cancelled thread: no success either
            current.set_status(otel.StatusCode.ERROR, type(error).__name__)
            raise


def record(
    name: str,
    start_ns: int,
    end_ns: int,
    attributes: Attributes | None = None,
    *,
    parent: otel.Span | None = None,
    context: otel_context.Context | None = None,
) -> otel.Span:
    """A span whose times are known only afterwards (nanoseconds since the epoch); it is ended when returned.

    Its parent is `parent`, or the current span of `context`, which saves making one for each of many children.
    """
    _declared(name, attributes)
    if parent is not None:
        context = otel.set_span_in_context(parent)
    provider = otel.get_tracer_provider()
    if isinstance(provider, Tracers):
        over = provider.write(name, context, start_ns, end_ns, attributes)
        if over is not None:
            return over
    written = _TRACER.start_span(name, context=context, start_time=start_ns, attributes=attributes)
    written.end(end_ns)
    return written


def finish_root(
    root: Root, attributes: Attributes | None = None, *, error: str | None = None, end_ns: int | None = None
) -> None:
    """Writes the root span itself, from its beginning until now; with `error` as a failure."""
    _declared(ROOT, attributes)
    # The caller's trace id, where there is one, comes with the parent context.
    with chosen(int(root.trace_id, 16), int(root.span_id, 16)):
        written = _TRACER.start_span(
            ROOT,
            context=root.parent_context(),
            kind=otel.SpanKind.SERVER,
            start_time=root.started_ns,
            attributes=attributes,
        )
    if error is not None:
        written.set_status(otel.StatusCode.ERROR, error)
    written.end(end_ns)


def _declared(name: str, attributes: Attributes | None) -> None:
    names = _attribute_names(name)
    if names is None:
        reject(name, "no such span")
    elif attributes and not names.issuperset(attributes):
        reject(name, f"span attributes {sorted(set(attributes) - names)} are not declared")


@lru_cache(maxsize=1024)  # step_1 to step_N are names of their own
def _attribute_names(name: str) -> frozenset[str] | None:
    declaration = declared_span(name)
    return None if declaration is None else frozenset(a.name for a in declaration.attributes)
