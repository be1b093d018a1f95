"""Inpainting masks: read, turned around, softened, and in the latent's size.

A mask is an "L" picture: 255 is repainted, 0 is kept.
"""

from __future__ import annotations

from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from easel_worker.imaging.levels import Floats, to_unit
from easel_worker.imaging.resize import Size

OPAQUE = 255
ALPHA_THRESHOLD = 128
"""Alpha above this is repainted, when an alpha channel is the mask."""

# Gaussian kernels reach this many sigmas to each side.
_REACH = 2.5


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


def blur_kernel(sigma: float) -> NDArray[np.float64]:
    """Weights of a Gaussian blur, odd in number: 2 * int(2.5 * sigma + 0.5) + 1, with sum 1."""
    reach = int(_REACH * sigma + 0.5)
    offsets = np.arange(-reach, reach + 1, dtype=np.float64)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    return cast("NDArray[np.float64]", weights / weights.sum())


def blur(mask: Image.Image, sigma_x: float, sigma_y: float) -> Image.Image:
    """Soften a mask by a Gaussian with these standard deviations, in pixels; 0 leaves a direction alone.

    ``mask_blur_x`` and ``mask_blur_y`` are the sigmas. Beyond the border the mask goes on as its mirror
    image around the border pixel. Rounded to the nearest level after each direction.
    """
    levels = np.asarray(mask)
    if sigma_x > 0:
        levels = _round(levels @ blur_matrix(mask.width, sigma_x).T)
    if sigma_y > 0:
        levels = _round(blur_matrix(mask.height, sigma_y) @ levels)
    return Image.fromarray(levels)


def blur_matrix(length: int, sigma: float) -> Floats:
    """(length, length): row i holds the weights with which pixels make up the blurred pixel i.

    One product with it costs the same for every sigma, where a loop over the kernel would be slow for the
    wide blurs that outpainting asks for.
    """
    kernel = blur_kernel(sigma)
    reach = len(kernel) // 2
    rows = np.arange(length)[:, None]
    sources = _mirrored(rows + np.arange(-reach, reach + 1), length)
    places = (rows * length + sources).ravel()
    weights = np.broadcast_to(kernel, sources.shape).ravel()
    matrix = np.bincount(places, weights=weights, minlength=length * length)
    return matrix.reshape(length, length).astype(np.float32)


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


def _mirrored(indices: NDArray[np.intp], length: int) -> NDArray[np.intp]:
    """Indices beyond 0 … length - 1 reflected at the border pixels, as often as it takes."""
    if length == 1:
        return np.zeros_like(indices)
    period = 2 * (length - 1)
    folded = indices % period
    return np.minimum(folded, period - folded)


def _round(levels: Floats) -> NDArray[np.uint8]:
    return np.rint(levels).clip(0, OPAQUE).astype(np.uint8)
