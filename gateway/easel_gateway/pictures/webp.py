"""EXIF data of a WebP file (RFC 9649). Pillow would reserve memory for the pixels before it tells."""

from __future__ import annotations

import struct

from easel_gateway.pictures.errors import BrokenPictureError

_HEAD = struct.Struct("<4sI")
_PIXELS = frozenset({b"VP8 ", b"VP8L", b"ANMF"})


def is_webp(data: bytes) -> bool:
    """Whether the file says that it is one."""
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def read_webp(data: bytes) -> bytes:
    """The EXIF data, or b"".

    Raises:
        BrokenPictureError: the file is cut off or holds no picture.
    """
    position, exif, pixels = 12, b"", False
    while position + _HEAD.size <= len(data):
        kind, length = _HEAD.unpack_from(data, position)
        position += _HEAD.size
        if position + length > len(data):
            raise BrokenPictureError("it is cut off")
        pixels = pixels or kind in _PIXELS
        if kind == b"EXIF":
            exif = data[position : position + length]
        position += length + length % 2
    if not pixels:
        raise BrokenPictureError("it holds no picture")
    return exif
