"""Text chunks of a PNG file (PNG specification, third edition, section 11.3.3)."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from easel_gateway.pictures.errors import BrokenPictureError, TextTooLargeError

SIGNATURE = b"\x89PNG\r\n\x1a\n"

MAX_TEXT_BYTES = 16 * 1024 * 1024
"""All texts of a picture together, decompressed."""

_HEAD = struct.Struct(">I4s")


def read_png(data: bytes) -> tuple[dict[str, str], bytes]:
    """The text chunks by keyword (of equal ones the last), and the EXIF data or b"".

    Raises:
        BrokenPictureError: the file is cut off or a checksum is wrong.
        TextTooLargeError: the texts have more than `MAX_TEXT_BYTES`.
    """
    items: dict[str, str] = {}
    exif = b""
    room = MAX_TEXT_BYTES
    for kind, body in _chunks(data):
        if kind == b"eXIf":
            exif = body
        elif kind in _READERS:
            keyword, _, rest = body.partition(b"\0")
            text = _READERS[kind](rest, room)
            room -= len(text)
            if room < 0:
                raise TextTooLargeError
            items[keyword.decode("latin-1")] = text.decode(
                "utf-8" if kind == b"iTXt" else "latin-1", "replace"
            )
    return items, exif


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Type and content of every chunk but the pixels."""
    position = len(SIGNATURE)
    first = True
    while True:
        if len(data) < position + 12:
            raise BrokenPictureError("it ends before its last chunk")
        length, kind = _HEAD.unpack_from(data, position)
        end = position + 8 + length
        if len(data) < end + 4 or first != (kind == b"IHDR"):
            raise BrokenPictureError("its chunks are damaged")
        first = False
        if kind == b"IEND":
            return
        if kind != b"IDAT":
            (checksum,) = struct.unpack_from(">I", data, end)
            if zlib.crc32(data[position + 4 : end]) != checksum:
                raise BrokenPictureError("a checksum is wrong")
            yield kind, data[position + 8 : end]
        position = end + 4


def _plain(rest: bytes, room: int) -> bytes:
    return rest


def _compressed(rest: bytes, room: int) -> bytes:
    return _inflate(rest[1:], room)  # behind the method's number, which is always 0


def _international(rest: bytes, room: int) -> bytes:
    flags, text = rest[:2], rest[2:]
    _language, _, text = text.partition(b"\0")
    _translated, _, text = text.partition(b"\0")
    return _inflate(text, room) if flags[:1] == b"\1" else text


def _inflate(data: bytes, room: int) -> bytes:
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(data, room + 1)
    except zlib.error:
        raise BrokenPictureError("a compressed text is damaged") from None
    return text


_READERS = {b"tEXt": _plain, b"zTXt": _compressed, b"iTXt": _international}
