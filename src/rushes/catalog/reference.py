"""The reference pages, written from the catalog."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from rushes.catalog.events import EVENTS
from rushes.catalog.metrics import METRICS
from rushes.catalog.model import Metric, Status
from rushes.catalog.sensitive import NEVER_LOGGED
from rushes.catalog.spans import ROOT, SPANS

__all__ = ["log_events_page", "metrics_page", "spans_page"]

_GENERATED = (
    "<!-- Written by `make generate` from src/rushes/catalog. Change the catalog, not this page. -->\n"
)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return "\n".join([line(head), line(["---"] * len(head)), *map(line, rows)])


def _state(status: Status) -> str:
    return "pending: the platform does not emit it yet" if status is Status.PENDING else "emitted"


def metrics_page() -> str:
    """docs/reference/metrics.md."""
    pages = [
        "# Metrics\n",
        _GENERATED,
        "Every metric, with the same name on `/metrics`, over OTLP and in PromQL. "
        "Names that begin with `rushes_` are ours; all others are the specification's.\n",
    ]
    for section, metrics in groupby(METRICS.values(), key=lambda m: m.section):
        pages.append(f"## {section}\n")
        pages.extend(map(_metric, metrics))
    return "\n".join(pages)


def _metric(metric: Metric) -> str:
    facts = [
        f"{metric.kind.value}, {_state(metric.status)}{f' where there is {metric.requires}' if metric.requires else ''}"
    ]
    if metric.unit:
        facts.append(f"unit {metric.unit}")
    if metric.target and metric.target != "-":
        facts.append(f"target or threshold: {metric.target}")
    text = f"### `{metric.name}`\n\n{metric.help}.\n\n{'; '.join(facts)}.\n"
    if metric.buckets:
        text += f"\nBuckets: {', '.join(f'{b:g}' for b in metric.buckets)}.\n"
    if metric.labels:
        rows = [(f"`{label.name}`", label.help, ", ".join(label.values) or "open") for label in metric.labels]
        text += "\n" + _table(["Label", "Meaning", "Values"], rows) + "\n"
    return text


def spans_page() -> str:
    """docs/reference/spans.md."""
    lines: list[str] = []

    def walk(name: str, depth: int) -> None:
        span = SPANS[name]
        mark = f"  (where there is {span.requires})" if span.requires else ""
        mark = "  (pending)" if span.status is Status.PENDING else mark
        lines.append(f"{'    ' * depth}{name}{mark}")
        for child in SPANS.values():
            if child.parent == name:
                walk(child.name, depth + 1)

    walk(ROOT, 0)
    rows = [
        (
            f"`{span.name}`",
            span.purpose,
            "; ".join(f"`{a.name}`: {a.help}" for a in span.attributes) or "-",
            _state(span.status),
        )
        for span in SPANS.values()
    ]
    return "\n".join(
        [
            "# Spans\n",
            _GENERATED,
            "One trace runs from the gateway to the upload, across processes. A span stands only for work that "
            "happened.\n",
            "```",
            *lines,
            "```\n",
            _table(["Span", "What it times", "Attributes", "State"], rows),
            "",
        ]
    )


def log_events_page() -> str:
    """docs/reference/logs.md."""
    rows = [
        (f"`{e.name}`", e.level.value, e.message, ", ".join(f"`{f.name}`" for f in e.fields) or "-")
        for e in EVENTS.values()
    ]
    never = [(n.data, n.reason, n.alternative, f"`{n.type.__name__}`") for n in NEVER_LOGGED]
    return "\n".join(
        [
            "# Log events\n",
            _GENERATED,
            "A log line is one JSON object: `timestamp`, `level`, `service`, `component`, `worker_id`, `event`, "
            "`request_id`, `context`, `trace_id`, `span_id`. The context has the event's declared fields only.\n",
            _table(["Event", "Level", "Message", "Context"], rows),
            "\n## What is not logged\n",
            _table(["Data", "Reason", "Alternative", "Type that sees to it"], never),
            "",
        ]
    )
