"""Fitting a picture to the job's size: img2img's resize modes 0 to 2.

Mode 3 resizes the latent instead: see `easel_worker.diffusion.latents`.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import TypeAlias

from PIL import Image

Size: TypeAlias = tuple[int, int]
"""Width and height in pixels, Pillow's order."""

Upscaler: TypeAlias = Callable[[Image.Image, Size], Image.Image]
"""Enlarges an RGB picture to at least about `size`; whatever it returns is brought to `size` by Lanczos."""


class ResizeMode(IntEnum):
    """The request's ``resize_mode``.

    STRETCH        both sides to the target, the aspect ratio is lost
    COVER          fill the target, cut off what sticks out, equally on both sides
    CONTAIN        show the whole picture, fill the border with the stretched edge rows or columns
    STRETCH_LATENT as STRETCH, in latent space
    """

    STRETCH = 0
    COVER = 1
    CONTAIN = 2
    STRETCH_LATENT = 3


def scale_to(image: Image.Image, size: Size, upscaler: Upscaler | None = None) -> Image.Image:
    """`image` at exactly `size`, both sides independently.

    Lanczos, unless an `upscaler` is given and a side grows. Masks ("L") never go through an upscaler, which
    knows colours only.
    """
    _require_positive(size)
    if image.size == size:
        return image
    grows = size[0] > image.width or size[1] > image.height
    if upscaler is not None and grows and image.mode != "L":
        image = upscaler(image, size)
    if image.size == size:
        return image
    return image.resize(size, Image.Resampling.LANCZOS)


def resize(
    image: Image.Image, size: Size, mode: int = ResizeMode.STRETCH, upscaler: Upscaler | None = None
) -> Image.Image:
    """Fit `image` ("RGB", "RGBA" or "L") to `size` by a `ResizeMode`.

    STRETCH_LATENT stretches here: it is asked of a mask, which has no latent. Raises `ValueError` for another
    mode or a size below 1.
    """
    match ResizeMode(mode):
        case ResizeMode.STRETCH | ResizeMode.STRETCH_LATENT:
            return scale_to(image, size, upscaler)
        case ResizeMode.COVER:
            return _cover(image, size, upscaler)
        case ResizeMode.CONTAIN:
            return _contain(image, size, upscaler)


def covering_size(source: Size, target: Size) -> Size:
    """The smallest size with `source`'s aspect ratio that covers `target`; one side equals the target's."""
    width, height = target
    if width * source[1] > height * source[0]:
        return width, max(1, source[1] * width // source[0])
    return max(1, source[0] * height // source[1]), height


def contained_size(source: Size, target: Size) -> Size:
    """The largest size with `source`'s aspect ratio inside `target`; one side equals the target's."""
    width, height = target
    if width * source[1] < height * source[0]:
        return width, max(1, source[1] * width // source[0])
    return max(1, source[0] * height // source[1]), height


def _cover(image: Image.Image, size: Size, upscaler: Upscaler | None) -> Image.Image:
    scaled = scale_to(image, covering_size(image.size, size), upscaler)
    left = scaled.width // 2 - size[0] // 2
    top = scaled.height // 2 - size[1] // 2
    return scaled.crop((left, top, left + size[0], top + size[1]))


def _contain(image: Image.Image, size: Size, upscaler: Upscaler | None) -> Image.Image:
    scaled = scale_to(image, contained_size(image.size, size), upscaler)
    left = size[0] // 2 - scaled.width // 2
    top = size[1] // 2 - scaled.height // 2
    canvas = Image.new(image.mode, size)
    canvas.paste(scaled, (left, top))
    right, bottom = left + scaled.width, top + scaled.height
    # One side always fits exactly, so the border is either above and below or left and right.
    if top > 0:
        canvas.paste(_row(scaled, 0).resize((size[0], top)), (0, 0))
    if bottom < size[1]:
        canvas.paste(_row(scaled, scaled.height - 1).resize((size[0], size[1] - bottom)), (0, bottom))
    if left > 0:
        canvas.paste(_column(scaled, 0).resize((left, size[1])), (0, 0))
    if right < size[0]:
        canvas.paste(_column(scaled, scaled.width - 1).resize((size[0] - right, size[1])), (right, 0))
    return canvas


def _row(image: Image.Image, y: int) -> Image.Image:
    return image.crop((0, y, image.width, y + 1))


def _column(image: Image.Image, x: int) -> Image.Image:
    return image.crop((x, 0, x + 1, image.height))


def _require_positive(size: Size) -> None:
    if size[0] < 1 or size[1] < 1:
        raise ValueError(f"size: {size[0]}x{size[1]} should be at least 1x1")
