"""What is written in a picture, whatever its format."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass

from PIL import Image

from easel_gateway.pictures.errors import BrokenPictureError
from easel_gateway.pictures.exif import user_comment
from easel_gateway.pictures.png import SIGNATURE, read_png
from easel_gateway.pictures.webp import is_webp, read_webp

PARAMETERS = "parameters"
"""The PNG text chunk in which A1111's tools keep the infotext."""

_FORMATS = ("JPEG", "GIF", "AVIF", "BMP", "TIFF")
"""Formats whose head Pillow reads without touching the pixels."""

_BROKEN = (
    OSError,
    ValueError,
    SyntaxError,
    TypeError,
    LookupError,
    RuntimeError,
    struct.error,
    Image.DecompressionBombError,
)
"""What Pillow's readers raise for files that somebody has made up."""


@dataclass(frozen=True)
class PictureTexts:
    """`infotext`: how the picture was made, "" when it does not tell. `items`: all of its texts by
    keyword."""

    infotext: str
    items: dict[str, str]


def read_texts(data: bytes) -> PictureTexts:
    """The texts of a PNG, JPEG, WebP, AVIF or GIF file; of other pictures there are none.

    The infotext is PNG's chunk `parameters`, else the EXIF user comment, else the comment (GIF, JPEG).

    Raises:
        BrokenPictureError: it is no picture, or a damaged one.
        TextTooLargeError: it has megabytes of text.
    """
    items: dict[str, str] = {}
    if data.startswith(SIGNATURE):
        items, exif = read_png(data)
    elif is_webp(data):
        exif = read_webp(data)
    else:
        comment, exif = _read_head(data)
        if comment:
            items["comment"] = comment
    infotext = items.get(PARAMETERS) or user_comment(exif) or items.get("comment", "")
    return PictureTexts(infotext, items)


def _read_head(data: bytes) -> tuple[str, bytes]:
    """Comment and EXIF data of a format that Pillow opens."""
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
            comment = picture.info.get("comment", b"")
            exif = picture.info.get("exif", b"")
    except _BROKEN as error:
        raise BrokenPictureError(str(error)) from None
    text = comment.decode("utf-8", "replace") if isinstance(comment, bytes) else str(comment)
    return text, exif if isinstance(exif, bytes) else b""
