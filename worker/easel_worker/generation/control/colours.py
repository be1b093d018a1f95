"""What some units do to the finished picture: it gets light or colours of the unit's picture back.

A network steers shapes better than single levels, so `recolor_*` and `tile_colorfix` put right what it can
only come near to.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from easel_worker.imaging.color import lab_to_rgb, rgb_to_lab
from easel_worker.imaging.gaussian import blur_columns, blur_rows
from easel_worker.imaging.levels import HIGHEST

Pixels = NDArray[np.uint8]
"""(height, width, 3) RGB."""


def with_lightness(picture: Pixels, grey: Pixels) -> Pixels:
    """`picture` with the CIE lightness of `grey`, whose levels 0 to 255 are L* 0 to 100."""
    lab = rgb_to_lab(picture)
    lab[..., 0] = grey[..., 0] * np.float32(100 / 255)
    return lab_to_rgb(lab)


def with_intensity(picture: Pixels, grey: Pixels) -> Pixels:
    """`picture` with the levels of `grey` as its HSV value, the largest channel (recolor_intensity): hue and
    saturation stay."""
    levels = picture.astype(np.float32)
    largest = levels.max(axis=-1, keepdims=True)
    # Black has no hue: it becomes grey.
    shares = np.divide(levels, largest, out=np.ones_like(levels), where=largest > 0)
    coloured: Pixels = np.rint(shares * grey[..., :1]).clip(0, HIGHEST).astype(np.uint8)
    return coloured


def with_colours(picture: Pixels, source: Pixels, radius: float) -> Pixels:
    """`picture` with the colours of `source`, and its own detail (tile_colorfix).

    What varies over less than about `radius` pixels, the standard deviation of a Gaussian, is the picture's;
    what is left when that is blurred away is the source's.
    """
    fixed = picture.astype(np.float32) + (_blurred(source, radius) - _blurred(picture, radius))
    levels: Pixels = np.rint(fixed).clip(0, HIGHEST).astype(np.uint8)
    return levels


def _blurred(pixels: Pixels, radius: float) -> NDArray[np.float32]:
    channels = np.moveaxis(pixels.astype(np.float32), -1, 0)
    return np.stack([blur_columns(blur_rows(channel, radius), radius) for channel in channels], axis=-1)
