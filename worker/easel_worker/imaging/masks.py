"""Inpainting masks: read, turned around, softened, and in the latent's size.

A mask is an "L" picture: 255 is repainted, 0 is kept.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from PIL import Image, ImageOps

from easel_worker.imaging.gaussian import blur_columns, blur_rows
from easel_worker.imaging.levels import Floats, to_unit
from easel_worker.imaging.resize import Size

OPAQUE = 255
ALPHA_THRESHOLD = 128
"""Alpha above this is repainted, when an alpha channel is the mask."""


def mask_from(image: Image.Image, *, hard_alpha: bool = True) -> Image.Image:
    """The mask that a client's picture means, "L", of the same size.

    A picture with an alpha channel that is not opaque everywhere is drawn in that channel: alpha above 128
    is repainted, or alpha as it is without `hard_alpha`. Any other picture is drawn in its brightness
    (ITU-R 601 luma). Transparency of a palette counts as alpha.
    """
    if image.mode in ("P", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
    if "A" in image.getbands():
        alpha = image.getchannel("A")
        if cast("tuple[int, int]", alpha.getextrema()) != (OPAQUE, OPAQUE):
            return alpha.point(lambda level: OPAQUE * (level > ALPHA_THRESHOLD)) if hard_alpha else alpha
    return image.convert("L")


def invert(mask: Image.Image) -> Image.Image:
    """Repaint what was kept, and keep what was repainted."""
    return ImageOps.invert(mask)


def is_blank(mask: Image.Image) -> bool:
    """Whether nothing is repainted: every pixel is 0. A job with such a mask is plain img2img."""
    return mask.getbbox() is None


def blur(mask: Image.Image, sigma_x: float, sigma_y: float) -> Image.Image:
    """Soften a mask by a Gaussian with these standard deviations, in pixels; 0 leaves a direction alone.

    ``mask_blur_x`` and ``mask_blur_y`` are the sigmas. Beyond the border the mask goes on as its mirror
    image around the border pixel. Rounded to the nearest level after each direction.
    """
    levels = np.asarray(mask, dtype=np.float32)
    if sigma_x > 0:
        levels = _rounded(blur_columns(levels, sigma_x))
    if sigma_y > 0:
        levels = _rounded(blur_rows(levels, sigma_y))
    return Image.fromarray(levels.astype(np.uint8))


def latent_mask(mask: Image.Image, latent_size: Size, *, rounded: bool = True) -> Floats:
    """The mask in latent pixels, (height, width), 0 to 1: 1 is repainted.

    `latent_size` is (width, height) of the latent. Reduced by Pillow's bicubic filter. `rounded` (the
    request's ``mask_round``) makes every latent pixel 0 or 1; soft inpainting wants it off.
    """
    reduced = to_unit(mask.resize(latent_size, Image.Resampling.BICUBIC))
    return np.rint(reduced) if rounded else reduced


def raise_contrast(mask: Image.Image) -> Image.Image:
    """Twice the mask, at most 255: the mask of the final composite.

    What was repainted by half or more is taken from the result alone, so that the blur only reaches into
    the kept part.
    """
    return mask.point([min(2 * level, OPAQUE) for level in range(256)])


def _rounded(levels: Floats) -> Floats:
    return cast("Floats", np.rint(levels).clip(0, OPAQUE))
