"""Protobuf payloads as JSON values: by descriptors from the registry, in a pool of each schema's own."""

import base64
import re
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from google.protobuf import descriptor_pb2, json_format, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor, FileDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError

from tropism.adapters.confluent.framing import message_of, with_message
from tropism.adapters.confluent.payloads import Format, Misfit
from tropism.adapters.confluent.registry import Registered, SchemaRegistry

_WELL_KNOWN = "google/protobuf/"
_LONG = (
    FieldDescriptor.CPPTYPE_INT64,
    FieldDescriptor.CPPTYPE_UINT64,
)
_FAILED = re.compile(r"Failed to parse ([\w.]+) field|has no field named \"(\w+)\"")


class ProtobufPayloads:
    """The payloads of one file of messages, written as the first of them, or that called like the event."""

    def __init__(self, file: FileDescriptor, pool: DescriptorPool) -> None:
        self._file = file
        self._pool = pool
        self._messages = list(file.message_types_by_name.values())
        self.name = self._messages[0].full_name

    def decode(self, payload: bytes) -> tuple[str, Any]:
        """Return what the message is called, and its value. Raises: ValueError."""
        path, data = message_of(payload)
        found = self._at(path)
        message = message_factory.GetMessageClass(found)()
        try:
            message.ParseFromString(data)
        except DecodeError as error:
            raise ValueError(f"the bytes do not fit the message {found.full_name!r}") from error
        try:
            value = json_format.MessageToDict(
                message,
                preserving_proto_field_name=True,
                always_print_fields_with_no_presence=True,
                descriptor_pool=self._pool,
            )
        except (json_format.Error, TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"message {found.full_name!r} holds what has no JSON form") from error
        return found.full_name, _numbered(value, found)

    def encode(self, value: Any, event_type: str) -> bytes:
        """Return a value as the payload. Raises: Misfit."""
        names = [message.full_name for message in self._messages]
        place = names.index(event_type) if event_type in names else 0
        message = message_factory.GetMessageClass(self._messages[place])()
        if not isinstance(value, dict):
            raise Misfit("it is no object")
        try:
            json_format.ParseDict(value, message, descriptor_pool=self._pool)
        except json_format.ParseError as error:
            # Its own words repeat the value.
            told = _FAILED.findall(str(error))
            field = ".".join(a or b for a, b in told) if told else "?"
            raise Misfit(f"field '$.{field}' does not fit message {names[place]!r}") from None
        return with_message([place], message.SerializeToString(deterministic=True))

    def _at(self, path: Sequence[int]) -> Descriptor:
        found: Sequence[Descriptor] = self._messages
        message: Descriptor | None = None
        for number in path:
            if number >= len(found):
                raise ValueError(f"there is no message {list(path)} in the schema")
            message = found[number]
            found = list(message.nested_types)
        assert message is not None  # noqa: S101 (a path has a number at least)
        return message


def _numbered(value: Any, descriptor: Descriptor) -> Any:
    """Return a message's value with its long numbers as numbers, which Protobuf's own JSON has as text."""
    for field in descriptor.fields:
        if field.name in value:
            value[field.name] = _field(value[field.name], field)
    return value


def _field(value: Any, field: FieldDescriptor) -> Any:
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry and isinstance(value, dict):
        inner = kind.fields_by_name["value"]
        return {key: _field(each, inner) for key, each in value.items()}
    if isinstance(value, list):
        return [_single(each, field) for each in value]
    return _single(value, field)


def _single(value: Any, field: FieldDescriptor) -> Any:
    kind = field.message_type
    if kind is None:
        return int(value) if field.cpp_type in _LONG else value
    if kind.full_name in {"google.protobuf.Int64Value", "google.protobuf.UInt64Value"}:
        return int(value)
    known = kind.full_name.startswith("google.protobuf.")
    return value if known or not isinstance(value, dict) else _numbered(value, kind)


def open_protobuf(registered: Registered, registry: SchemaRegistry) -> ProtobufPayloads:
    """Return what encodes and decodes by a registered schema. Raises: ValueError if it is no descriptor."""
    pool = DescriptorPool()
    name = f"tropism/{registered.id}.proto"
    try:
        _add(registered, name, registry, pool)
        file = pool.FindFileByName(name)
    except (TypeError, KeyError, ValueError, DecodeError) as error:
        raise ValueError(f"schema {registered.id} is no Protobuf descriptor, or lacks an import") from error
    if not file.message_types_by_name:
        raise ValueError(f"schema {registered.id} has no message")
    return ProtobufPayloads(file, pool)


def _add(registered: Registered, name: str, registry: SchemaRegistry, pool: DescriptorPool) -> None:
    file = descriptor_pb2.FileDescriptorProto()
    file.ParseFromString(base64.b64decode(registered.text, validate=True))
    file.name = name
    named = {reference.name: reference for reference in registered.references}
    for needed in file.dependency:
        _need(needed, named, registry, pool)
    pool.Add(file)  # type: ignore[no-untyped-call, unused-ignore]


def _need(name: str, named: Mapping[str, Any], registry: SchemaRegistry, pool: DescriptorPool) -> None:
    try:
        pool.FindFileByName(name)
    except KeyError:
        if name in named:
            reference = named[name]
            _add(registry.version(reference.subject, reference.version), name, registry, pool)
        elif name.startswith(_WELL_KNOWN):
            module = import_module(name.removesuffix(".proto").replace("/", ".") + "_pb2")
            for each in module.DESCRIPTOR.dependencies:
                _need(each.name, named, registry, pool)
            pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
        else:
            raise


PROTOBUF = Format("PROTOBUF", "application/protobuf", open_protobuf)
