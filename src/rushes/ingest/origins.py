"""Where spans and records come from, as columns: the resource and the scope of each item of a request."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from rushes.ingest.attributes import Origin, origin
from rushes.ingest.limits import Limits, expandable
from rushes.ingest.nested import Ints, owners, shortened
from rushes.ingest.otlp_wire import OTLP
from rushes.ingest.stats import Refusals
from rushes.ingest.wire import parsed

__all__ = ["Items", "items", "parsed_resource"]


class Items(NamedTuple):
    """The items of a request, still encoded, and for each of them the number of its scope and of its resource.

    Columns of scopes and resources are short; `take` them by these numbers.
    """

    encoded: Any
    scope: Ints
    resource: Ints
    resources: list[bytes]
    scopes: Any

    def origins(self, limits: Limits, refusals: Refusals) -> tuple[Any, Any, Any]:
        """Service, strings and typed attributes of each resource."""
        known: dict[bytes, Origin] = {}
        for raw in self.resources:
            if raw not in known:
                known[raw] = origin(parsed_resource(raw), limits, refusals)
        found = [known[raw] for raw in self.resources]
        sizes = [sum(map(len, (of.typed, *of.strings, *of.strings.values()))) for of in found]
        scopes = pc.binary_length(pc.fill_null(pc.struct_field(self.scopes, "name"), ""))
        spread = np.array(sizes, np.int64)[self.resource].sum() + scopes.to_numpy()[self.scope].sum()
        expandable(int(spread), limits)
        return (
            pa.array([each.service for each in found], pa.string()),
            pa.array([list(each.strings.items()) for each in found], pa.map_(pa.string(), pa.string())),
            pa.array([each.typed for each in found], pa.string()),
        )

    def scope_texts(self, name: str, limits: Limits) -> Any:
        """A text of each scope."""
        return shortened(pc.fill_null(pc.struct_field(self.scopes, name), ""), limits.value_length)[0]


def items(request: str, body: bytes) -> Items:
    """The items of an export request: encoded spans, log records or metrics.

    Raises:
        UndecodableBody: the body isn't such a request.
    """
    of_resources = OTLP.one(request, body).column("of_resources").flatten()
    resources = of_resources.field("resource").to_pylist()
    lists = of_resources.field("of_scopes")
    of_scopes, resource_of = lists.flatten(), owners(lists)
    encoded, scope_of = of_scopes.field("items").flatten(), owners(of_scopes.field("items"))
    scopes = of_scopes.field("scope") if "scope" in [f.name for f in of_scopes.type] else None
    return Items(encoded, scope_of, resource_of[scope_of], resources, scopes)


def parsed_resource(raw: bytes) -> Resource:
    """A resource. Raises UndecodableBody."""
    resource: Resource = parsed(Resource(), raw)
    return resource
