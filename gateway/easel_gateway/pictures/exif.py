"""The user comment in EXIF data, where JPEG, WebP and AVIF carry the infotext (EXIF 2.3, section 4.6)."""

from __future__ import annotations

import struct

_EXIF_IFD = 0x8769
_USER_COMMENT = 0x9286


def user_comment(exif: bytes) -> str:
    """The comment; "" when there is none, and when the data is damaged: the picture may be fine all the
    same."""
    tiff = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
    if order is None:
        return ""
    try:
        (first,) = struct.unpack_from(f"{order}I", tiff, 4)
        inner = _entry(tiff, order, first, _EXIF_IFD)
        if inner is None:
            return ""
        found = _entry(tiff, order, inner[1], _USER_COMMENT)
    except struct.error:
        return ""
    if found is None:
        return ""
    length, offset = found
    return _decode(tiff[offset : offset + length])


def _entry(tiff: bytes, order: str, ifd: int, tag: int) -> tuple[int, int] | None:
    """Count and value (an offset, for what is longer than four bytes) of a directory's entry."""
    (entries,) = struct.unpack_from(f"{order}H", tiff, ifd)
    for index in range(entries):
        found, _kind, count, value = struct.unpack_from(f"{order}HHII", tiff, ifd + 2 + 12 * index)
        if found == tag:
            return count, value
    return None


def _decode(raw: bytes) -> str:
    charset, text = raw[:8], raw[8:]
    if charset == b"UNICODE\0":
        return text.decode(_byte_order(text), "replace").strip("\0")
    if charset == b"JIS\0\0\0\0\0":
        return text.decode("iso2022_jp", "replace").strip("\0")
    if charset in (b"ASCII\0\0\0", b"\0" * 8):
        return text.decode("utf-8", "replace").strip("\0")
    return raw.decode("utf-8", "replace").strip("\0")


def _byte_order(text: bytes) -> str:
    """UTF-16's byte order, which EXIF leaves open. A1111 writes big endian; others follow the TIFF header.

    Every infotext has Latin letters, and the zero bytes of those tell.
    """
    if text[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    return "utf-16-le" if text[1::2].count(0) > text[::2].count(0) else "utf-16-be"
