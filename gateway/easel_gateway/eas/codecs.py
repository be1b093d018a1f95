"""How queue items look on the wire: JSON for plain clients, protobuf for the SDKs.

The protobuf messages are proto3 without a package; their descriptors are built here, so no compiler
is needed::

    DataFrameProto     { uint64 index = 1; map<string, string> tags = 2; bytes data = 3; string message = 4; }
    DataFrameListProto { repeated DataFrameProto index = 1; }        the field really is named index
    AttributesProto    { map<string, string> attributes = 1; }

`message` tells why an item's last delivery failed; it is empty, and absent from JSON, when none did.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from easel_queue import Entry

JSON_TYPE = "application/json"
PROTOBUF_TYPE = "application/vnd.google.protobuf"

_Field = descriptor_pb2.FieldDescriptorProto


def _map_entry(message: descriptor_pb2.DescriptorProto, name: str, number: int) -> None:
    """Add ``map<string, string> name = number`` the way a compiler spells it: a nested entry type."""
    entry = message.nested_type.add(name=name.capitalize() + "Entry")
    entry.options.map_entry = True
    for label, position in (("key", 1), ("value", 2)):
        entry.field.add(name=label, number=position, type=_Field.TYPE_STRING, label=_Field.LABEL_OPTIONAL)
    message.field.add(
        name=name,
        number=number,
        type=_Field.TYPE_MESSAGE,
        label=_Field.LABEL_REPEATED,
        type_name=f".{message.name}.{entry.name}",
    )


def _build_messages() -> tuple[Any, Any, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="easel_eas.proto", syntax="proto3")
    frame = file.message_type.add(name="DataFrameProto")
    frame.field.add(name="index", number=1, type=_Field.TYPE_UINT64, label=_Field.LABEL_OPTIONAL)
    _map_entry(frame, "tags", 2)
    frame.field.add(name="data", number=3, type=_Field.TYPE_BYTES, label=_Field.LABEL_OPTIONAL)
    frame.field.add(name="message", number=4, type=_Field.TYPE_STRING, label=_Field.LABEL_OPTIONAL)
    frames = file.message_type.add(name="DataFrameListProto")
    frames.field.add(
        name="index",
        number=1,
        type=_Field.TYPE_MESSAGE,
        label=_Field.LABEL_REPEATED,
        type_name=".DataFrameProto",
    )
    _map_entry(file.message_type.add(name="AttributesProto"), "attributes", 1)
    # A pool of our own: another library in this process may define messages of the same names.
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    names = ("DataFrameProto", "DataFrameListProto", "AttributesProto")
    first, second, third = (message_factory.GetMessageClass(pool.FindMessageTypeByName(n)) for n in names)
    return first, second, third


# Typed Any: the classes are made at run time, so no checker can know their fields.
_FrameMessage, _FramesMessage, _AttributesMessage = _build_messages()


@dataclass(frozen=True)
class Codec:
    """One negotiated encoding. `content_type` is what the response says it is."""

    content_type: str
    binary: bool

    def frame(self, entry: Entry, *, index_only: bool = False) -> bytes:
        """One item alone: a watch frame. `index_only` leaves the data out."""
        if self.binary:
            return bytes(_message(entry, index_only=index_only).SerializeToString())
        return _dump(_record(entry, index_only=index_only))

    def frames(self, entries: Sequence[Entry]) -> bytes:
        """A list of items: the answer to get."""
        if self.binary:
            message = _FramesMessage(index=[_message(entry, index_only=False) for entry in entries])
            return bytes(message.SerializeToString())
        return _dump([_record(entry, index_only=False) for entry in entries])

    def attributes(self, attributes: Mapping[str, str]) -> bytes:
        """The flat text-to-text map of a queue's attributes."""
        if self.binary:
            return bytes(_AttributesMessage(attributes=dict(attributes)).SerializeToString())
        return _dump(dict(attributes))


JSON = Codec(JSON_TYPE, binary=False)
PROTOBUF = Codec(PROTOBUF_TYPE, binary=True)


def negotiate(accept: str | None) -> Codec:
    """The codec an ``Accept`` header asks for; JSON when it is absent, ``*/*`` or names neither."""
    best, best_quality = JSON, 0.0
    for item in (accept or "").split(","):
        media, *parameters = (part.strip().lower() for part in item.split(";"))
        quality = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    quality = float(parameter[2:])
                except ValueError:
                    quality = 0.0
        codec = {JSON_TYPE: JSON, PROTOBUF_TYPE: PROTOBUF}.get(media)
        if codec is not None and quality > best_quality:
            best, best_quality = codec, quality
    return best


def _message(entry: Entry, *, index_only: bool) -> Any:
    return _FrameMessage(
        index=entry.index, tags=entry.tags, data=b"" if index_only else entry.data, message=entry.last_error
    )


def _record(entry: Entry, *, index_only: bool) -> dict[str, object]:
    data = b"" if index_only else entry.data
    record: dict[str, object] = {"index": entry.index}
    if entry.last_error:
        record["message"] = entry.last_error
    return {**record, "tags": entry.tags, "data": base64.b64encode(data).decode("ascii")}


def _dump(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
