"""Pictures as files that carry their infotext."""

from __future__ import annotations

import io
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from easel_contract.options import RenderOptions
from easel_worker.outputs.exif import jpeg_user_comment, user_comment

log = logging.getLogger(__name__)

CONTENT_TYPES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "avif": "image/avif",
    "gif": "image/gif",
}

MAX_SIDES = {"jpg": 65_535, "jpeg": 65_535, "webp": 16_383, "avif": 65_535, "gif": 65_535}
"""Pixels that a format can hold; a larger picture (a grid, mostly) is written as PNG."""

MIB = 1024 * 1024


@dataclass(frozen=True)
class Encoded:
    """A picture file. `suffix` is the end of its name without the dot."""

    data: bytes
    suffix: str
    infotext: str = ""
    """What the picture tells about itself."""

    @property
    def content_type(self) -> str:
        return CONTENT_TYPES[self.suffix]


def encode(
    image: NDArray[np.uint8],
    infotext: str,
    form: str,
    options: RenderOptions,
    items: Mapping[str, str] | None = None,
) -> Encoded:
    """The file of a picture.

    PNG has the infotext in the text chunk ``parameters`` (iTXt where it is more than Latin-1), JPEG, WebP and
    AVIF in the EXIF user comment, GIF as its comment.

    Args:
        image: (H, W, 3), (H, W, 4) with alpha, or (H, W) for a mask.
        infotext: "" for none. It is left out as well where `enable_pnginfo` is off.
        form: ``png``, ``jpg``, ``jpeg``, ``webp``, ``avif`` or ``gif``, any letter case.
        items: More text chunks, for PNG only, such as ``postprocessing``.
    """
    form = form.lower()
    if max(image.shape[:2]) > MAX_SIDES.get(form, max(image.shape[:2])):
        height, width = image.shape[:2]
        log.warning("a picture of %dx%d is too large for %s: written as png", width, height, form)
        form = "png"
    told = infotext if options.enable_pnginfo else ""
    picture = Image.fromarray(image)
    file = io.BytesIO()
    picture = _flat(picture) if form in ("jpg", "jpeg") else picture
    picture.save(file, **_how(form, told, options, items or {} if options.enable_pnginfo else {}))
    return Encoded(file.getvalue(), form, infotext)


def small_copy(image: NDArray[np.uint8], file: Encoded, options: RenderOptions) -> Encoded | None:
    """The JPEG that is stored beside a picture too large for some message boards, or None.

    As A1111's `export_for_4chan`: for a file of more than `img_downscale_threshold` MiB or a side of more
    than `target_side_length` pixels; the picture is scaled down until its longer side is that.
    """
    height, width = image.shape[:2]
    longer = max(height, width)
    oversize = longer > options.target_side_length
    if not options.export_for_4chan or file.suffix in ("jpg", "jpeg"):
        return None
    if not oversize and len(file.data) <= options.img_downscale_threshold * MIB:
        return None
    if oversize:
        most = int(options.target_side_length)
        size = (max(1, width * most // longer), max(1, height * most // longer))
        image = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
    return encode(image, file.infotext, "jpg", options)


def _flat(picture: Image.Image) -> Image.Image:
    """JPEG has no alpha."""
    return picture.convert("RGB") if picture.mode == "RGBA" else picture


def _how(form: str, infotext: str, options: RenderOptions, items: Mapping[str, str]) -> dict[str, Any]:
    """Pillow's arguments."""
    if form == "png":
        chunks = PngInfo()
        for name, text in {"parameters": infotext, **items}.items():
            if text:
                chunks.add_text(name, text)
        return {"format": "PNG", "pnginfo": chunks}
    if form == "gif":
        # Pillow cuts a comment into blocks of 255 bytes, and readers join them.
        return (
            {"format": "GIF", "comment": infotext.encode("utf-8", "replace")}
            if infotext
            else {"format": "GIF"}
        )
    if form in ("jpg", "jpeg"):
        exif = jpeg_user_comment(infotext) if infotext else b""
        if infotext and not exif:
            log.warning("an infotext of %d characters is too long for JPEG: left out", len(infotext))
        return {"format": "JPEG", "quality": options.jpeg_quality, "exif": exif}
    how: dict[str, Any] = {"format": form.upper(), "quality": options.jpeg_quality}
    if form == "webp":
        how["lossless"] = options.webp_lossless
    if infotext:
        how["exif"] = user_comment(infotext)
    return how
