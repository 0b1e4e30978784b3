"""Where spans and records come from, as columns: the resource and the scope of each item of a request."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from rushes.ingest.attributes import Split, compact, split, typed_json
from rushes.ingest.limits import Limits, expandable
from rushes.ingest.nested import Ints, owners, shortened
from rushes.ingest.otlp_wire import OTLP
from rushes.ingest.stats import Refusals
from rushes.ingest.wire import parsed

__all__ = ["Items", "Origins", "items", "parsed_resource"]


class Origins(NamedTuple):
    """Of each item: its service, its resource as the store's two columns have it, its scope, and what else is told.

    `rest` has members of a JSON object, `"resource":{…},"scope":{…}`, where there is anything to say.
    """

    service: Any
    resource: Any
    resource_typed: Any
    scope_name: Any
    scope_version: Any
    rest: Any


class Items(NamedTuple):
    """The items of a request, still encoded, and for each of them the number of its scope and of its resource.

    `scopes` and `resources` are short columns; items refer to them by these numbers.
    """

    encoded: Any
    scope: Ints
    resource: Ints
    resources: Any
    scopes: Any
    resource_of_scope: Ints

    def where(self, keep: Any) -> Items:
        """Only these items."""
        if keep.all():
            return self
        return self._replace(
            encoded=self.encoded.filter(pa.array(keep)), scope=self.scope[keep], resource=self.resource[keep]
        )

    def origins(self, limits: Limits, refusals: Refusals) -> Origins:
        """Where each item comes from. Raises BodyTooLarge if that is too much, written with each of them."""
        resources = [(parsed_resource(raw), url) for raw, url in _rows(self.resources, "resource")]
        found = [split(of.attributes, limits, refusals) for of, _ in resources]
        about = [
            _about(attributes.exact, of.dropped_attributes_count, url[: limits.value_length])
            for attributes, (of, url) in zip(found, resources, strict=True)
        ]
        scopes = _rows(self.scopes, "scope")
        rest = [
            ",".join(
                f'"{name}":{compact(of)}'
                for name, of in (
                    ("resource", about[resource]),
                    ("scope", _of_scope(scope or {}, url, limits, refusals)),
                )
                if of
            )
            for (scope, url), resource in zip(scopes, self.resource_of_scope.tolist(), strict=True)
        ]
        names, versions = (
            shortened(
                pa.array([(of or {}).get(name) or "" for of, _ in scopes], pa.string()), limits.value_length
            )[0]
            for name in ("name", "version")
        )
        self._expandable(found, (names, versions, pa.array(rest, pa.string())), limits)
        of_resource, of_scope = pa.array(self.resource), pa.array(self.scope)
        return Origins(
            pa.array([of.strings.get("service.name", "") for of in found], pa.string()).take(of_resource),
            pa.array([list(of.strings.items()) for of in found], pa.map_(pa.string(), pa.string())).take(
                of_resource
            ),
            pa.array([typed_json(of.typed) for of in found], pa.string()).take(of_resource),
            names.take(of_scope),
            versions.take(of_scope),
            pa.array(rest, pa.string()).take(of_scope),
        )

    def _expandable(self, resources: list[Split], of_scope: tuple[Any, ...], limits: Limits) -> None:
        sizes = [sum(map(len, (typed_json(of.typed), *of.strings, *of.strings.values()))) for of in resources]
        spread = int(np.array(sizes, np.int64)[self.resource].sum())
        for texts in of_scope:
            spread += int(pc.binary_length(texts).to_numpy()[self.scope].sum())
        expandable(spread, limits)


def _rows(column: Any, name: str) -> list[tuple[Any, str]]:
    """A resource or scope of each row, with its schema's address."""
    return list(zip(column.field(name).to_pylist(), column.field("schema_url").to_pylist(), strict=True))


def _about(exact: dict[str, Any], dropped: int, schema_url: str) -> dict[str, Any]:
    of = {"exact": exact, "dropped": dropped, "schema_url": schema_url}
    return {name: value for name, value in of.items() if value}


def _of_scope(scope: dict[str, Any], url: str, limits: Limits, refusals: Refusals) -> dict[str, Any]:
    encoded = scope.get("attributes") or []
    of = split([parsed(KeyValue(), raw) for raw in encoded], limits, refusals)
    found = _about(of.exact, scope.get("dropped") or 0, url[: limits.value_length])
    return {"attributes": of.readable, **found} if of.readable else found


def items(request: str, body: bytes) -> Items:
    """The items of an export request: encoded spans, log records or metrics.

    Raises:
        UndecodableBody: the body isn't such a request.
    """
    of_resources = OTLP.one(request, body).column("of_resources").flatten()
    lists = of_resources.field("of_scopes")
    of_scopes, resource_of = lists.flatten(), owners(lists)
    encoded, scope_of = of_scopes.field("items").flatten(), owners(of_scopes.field("items"))
    return Items(encoded, scope_of, resource_of[scope_of], of_resources, of_scopes, resource_of)


def parsed_resource(raw: bytes) -> Resource:
    """A resource. Raises UndecodableBody."""
    resource: Resource = parsed(Resource(), raw)
    return resource
