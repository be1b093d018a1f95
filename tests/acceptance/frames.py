"""Reading protobuf by hand: what the clients' generated code does, written from the wire format."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Item:
    """One DataFrameProto."""

    index: int = 0
    tags: dict[str, str] = field(default_factory=dict)
    data: bytes = b""
    message: str = ""


def read_item(frame: bytes) -> Item:
    """A DataFrameProto: index = 1, tags = 2, data = 3, message = 4."""
    item = Item()
    for number, value in _fields(frame):
        if number == 1:
            assert isinstance(value, int)
            item.index = value
            continue
        assert isinstance(value, bytes)
        if number == 2:
            item.tags |= _pair(value)
        elif number == 3:
            item.data = value
        elif number == 4:
            item.message = value.decode()
        else:
            raise AssertionError(f"field {number} is unknown")
    return item


def read_items(body: bytes) -> list[Item]:
    """A DataFrameListProto; an empty body is an empty list."""
    return [read_item(value) for _, value in _fields(body) if isinstance(value, bytes)]


def read_attributes(body: bytes) -> dict[str, str]:
    """An AttributesProto."""
    attributes: dict[str, str] = {}
    for number, value in _fields(body):
        assert number == 1
        assert isinstance(value, bytes)
        attributes |= _pair(value)
    return attributes


def _pair(entry: bytes) -> dict[str, str]:
    texts = {number: value.decode() for number, value in _fields(entry) if isinstance(value, bytes)}
    return {texts.get(1, ""): texts.get(2, "")}


def _fields(data: bytes) -> list[tuple[int, int | bytes]]:
    """Field numbers and values: varints as int, lengthened ones as bytes; there is nothing else here."""
    found: list[tuple[int, int | bytes]] = []
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        value, at = _varint(data, at)
        if tag & 7 == 0:
            found.append((tag >> 3, value))
            continue
        assert tag & 7 == 2, "only varints and lengthened values"
        assert at + value <= len(data), "cut short"
        found.append((tag >> 3, data[at : at + value]))
        at += value
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        shift, at = shift + 7, at + 1
        if byte < 128:
            return value, at
