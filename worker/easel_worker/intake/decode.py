"""From the bytes of a file to a picture, whatever the bytes are."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
from PIL import Image, ImageOps

from easel_contract.errors import ContractError
from easel_contract.images import BAD_IMAGE, FORMATS, sniff

MAX_SIDE = 32_768
"""Pixels. A stripe of more is nothing to draw on, and some decoders' own limit."""

_PILLOWS_OWN = {
    "background",
    "dpi",
    "duration",
    "exif",
    "gamma",
    "icc_profile",
    "loop",
    "transparency",
    "xmp",
}
"""Entries of ``.info`` that Pillow acts on when it converts or saves; a file's text must not pass for one."""


def decode_image(data: bytes, *, field: str, max_pixels: int) -> Image.Image:
    """The first frame of a picture file, upright, as 8-bit RGB, or RGBA when it has transparency.

    16-bit greys are scaled to 8 bits, CMYK is converted, palettes with a transparent entry become RGBA, and
    the EXIF orientation is applied. Of the file's metadata only texts stay, in ``.info`` (PNG text chunks).

    Args:
        data: The file.
        field: What errors name.
        max_pixels: Largest width x height; checked before anything is decoded.

    Raises:
        ContractError: 422, it is not a picture of `FORMATS`, cut short, broken, or has too many pixels.
    """
    if not sniff(data):
        raise ContractError(f"{BAD_IMAGE}: not one of {', '.join(FORMATS)}", field=field)
    try:
        with Image.open(io.BytesIO(data), formats=_pillow_formats()) as opened:
            _check_size(opened.width, opened.height, field, max_pixels)
            opened.load()
            return _normal(opened)
    except ContractError:
        raise
    except Image.DecompressionBombError:
        raise _too_many(field, max_pixels) from None
    except MemoryError:
        raise
    except Exception as error:  # decoders of hostile bytes raise whatever they stumble over
        raise ContractError(
            f"{BAD_IMAGE}: the {sniff(data)} file is broken or cut short", field=field
        ) from error


@cache
def _pillow_formats() -> tuple[str, ...]:
    Image.init()
    # Older Pillow has no AVIF. "MPO", many cameras' JPEG, is opened by the JPEG plugin.
    return tuple(name.upper() for name in FORMATS if name.upper() in Image.OPEN)


def _check_size(width: int, height: int, field: str, max_pixels: int) -> None:
    if width * height > max_pixels or max(width, height) > MAX_SIDE:
        raise _too_many(field, max_pixels, f"{width}x{height} ")


def _too_many(field: str, max_pixels: int, size: str = "") -> ContractError:
    return ContractError(
        f"the picture has {size}more pixels than this service allows; at most {max_pixels} in all and "
        f"{MAX_SIDE} to a side (EASEL_IMAGE_MAX_PIXELS)",
        field=field,
        kind="too_large",
    )


def _normal(opened: Image.Image) -> Image.Image:
    picture = ImageOps.exif_transpose(opened)
    texts = {name: value for name, value in picture.info.items() if _is_text(name, value)}
    if picture.mode.startswith("I"):
        picture = _to_8_bits(picture)
    mode = "RGBA" if picture.has_transparency_data else "RGB"
    # convert() may answer the same object, which belongs to the file that is about to be closed.
    normal = picture.convert(mode) if picture.mode != mode else picture.copy()
    normal.info = texts
    return normal


def _is_text(name: object, value: object) -> bool:
    return isinstance(name, str) and isinstance(value, str) and name not in _PILLOWS_OWN


def _to_8_bits(picture: Image.Image) -> Image.Image:
    """16-bit grey, scaled: Pillow's own conversion would cut everything above 255 to white."""
    values = np.asarray(picture).astype(np.uint32)
    return Image.fromarray(((values * 255 + 32_767) // 65_535).astype(np.uint8))
