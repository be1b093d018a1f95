"""Infotexts as an EXIF user comment, where JPEG, WebP and AVIF keep them."""

from __future__ import annotations

from PIL import Image

EXIF_IFD = 0x8769
USER_COMMENT = 0x9286

MAX_JPEG_BYTES = 65_533
"""A JPEG segment holds no more, its own two bytes of length counted."""


def user_comment(infotext: str) -> bytes:
    """EXIF data with one user comment, in UTF-16 big endian behind ``UNICODE``, as A1111 writes it."""
    return _exif(b"UNICODE\0" + infotext.encode("utf-16-be", "replace"))


def jpeg_user_comment(infotext: str) -> bytes:
    """The same for a JPEG file, which has less room.

    What is too long in UTF-16 is written in UTF-8, as "undefined" text (EXIF 2.3, section 4.6.5): half as
    long for Latin letters. What is too long for that too gives b"": the file then has no infotext.
    """
    for exif in (user_comment(infotext), _exif(bytes(8) + infotext.encode("utf-8", "replace"))):
        if len(exif) <= MAX_JPEG_BYTES:
            return exif
    return b""


def _exif(comment: bytes) -> bytes:
    exif = Image.Exif()
    exif.get_ifd(EXIF_IFD)[USER_COMMENT] = comment
    return exif.tobytes()
