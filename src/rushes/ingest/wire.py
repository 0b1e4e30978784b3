"""Protobuf's wire format straight into Arrow's columns, so that no message becomes a Python object.

Messages are declared here with the fields that ingest reads. Where a message may occur very often, its field is
declared as bytes, which is the same on the wire: it is decoded in a second step, once its number is known to be
sane (two bytes can announce an empty message, which costs a hundred in memory) and, for attributes, once for
each different one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import pyarrow as pa
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from ptars import HandlerPool

from rushes.ingest.limits import UndecodableBody

__all__ = ["Wire", "parsed"]

_Field: Final = descriptor_pb2.FieldDescriptorProto
_SCALARS: Final = {
    "bool": _Field.TYPE_BOOL,
    "bytes": _Field.TYPE_BYTES,
    "double": _Field.TYPE_DOUBLE,
    "fixed32": _Field.TYPE_FIXED32,
    "fixed64": _Field.TYPE_FIXED64,
    "int32": _Field.TYPE_INT32,
    "int64": _Field.TYPE_INT64,
    "sfixed64": _Field.TYPE_SFIXED64,
    "sint32": _Field.TYPE_SINT32,
    "sint64": _Field.TYPE_SINT64,
    "string": _Field.TYPE_STRING,
    "uint32": _Field.TYPE_UINT32,
    "uint64": _Field.TYPE_UINT64,
}

# In negative numbers, and in lengths of nearly 2**64, which the decoder to Arrow trips over: where this occurs,
# protobuf's own decoder looks first.
_NEGATIVE: Final = b"\xff" * 8


class Wire:
    """Messages of one protocol.

    Args:
        package: their protobuf package.
        messages: by name, one field a line: `[repeated|optional] type name number`, as in a .proto. `optional`
            fields and members of a oneof are declared alike: null where they were not sent.
    """

    def __init__(self, package: str, messages: Mapping[str, str]) -> None:
        file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
        for name, fields in messages.items():
            message = file.message_type.add(name=name)
            for line in fields.strip().splitlines():
                _add(message, package, line.split())
        pool = descriptor_pool.DescriptorPool()
        pool.Add(file)
        found = {name: pool.FindMessageTypeByName(f"{package}.{name}") for name in messages}
        handlers = HandlerPool([next(iter(found.values())).file])
        self._handlers: dict[str, Any] = {n: handlers.get_for_message(of) for n, of in found.items()}
        self._classes = {name: message_factory.GetMessageClass(of) for name, of in found.items()}

    def one(self, name: str, body: bytes) -> Any:
        """One message as a record batch of one row.

        Raises:
            UndecodableBody: it isn't such a message.
        """
        if _NEGATIVE in body:
            self.message(name, body)
        return self._decoded(name, "list_to_record_batch", [body])

    def many(self, name: str, bodies: Any, limit: int) -> Any:
        """An array of messages as a record batch, a row each.

        Raises:
            UndecodableBody: one of them isn't such a message, or there are more than `limit`.
        """
        if len(bodies) > limit:
            raise UndecodableBody(f"the body announces {len(bodies)} messages ({name}), which can't be")
        data = bodies.buffers()[2]
        if data is not None and _NEGATIVE in data.to_pybytes():
            for body in bodies.to_pylist():
                self.message(name, body)
        return self._decoded(name, "array_to_record_batch", bodies)

    def message(self, name: str, body: bytes) -> Any:
        """One message as an object, for what is rare.

        Raises:
            UndecodableBody: it isn't such a message.
        """
        return parsed(self._classes[name](), body)

    def _decoded(self, name: str, how: str, bodies: Sequence[bytes] | Any) -> Any:
        try:
            return getattr(self._handlers[name], how)(bodies)
        except (ValueError, pa.ArrowException) as error:
            raise UndecodableBody(f"the body is not protobuf ({name}): {error}") from error
        except BaseException as error:
            if type(error).__name__ != "PanicException":  # Rust's, which is no Exception
                raise
            raise UndecodableBody(f"the body is not protobuf ({name})") from error


def parsed(message: Any, raw: bytes) -> Any:
    """The message, filled with these bytes. Raises UndecodableBody."""
    try:
        message.ParseFromString(raw)
    except Exception as error:  # DecodeError, and ValueError for text that is none
        name = message.DESCRIPTOR.name
        raise UndecodableBody(f"the body is not protobuf ({name}): {error}") from error
    return message


def _add(message: Any, package: str, words: list[str]) -> None:
    rule = words.pop(0) if words[0] in ("repeated", "optional") else ""
    kind, name, number = words
    field = message.field.add(
        name=name,
        number=int(number),
        label=_Field.LABEL_REPEATED if rule == "repeated" else _Field.LABEL_OPTIONAL,
    )
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{package}.{kind}"
    if rule == "optional":
        field.proto3_optional = True
        field.oneof_index = len(message.oneof_decl)
        message.oneof_decl.add(name=f"_{name}")
