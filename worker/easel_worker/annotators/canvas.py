"""The size that a picture is worked on in: its shorter side at the resolution, padded to multiples of 64."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from easel_worker.annotators.annotation import Pixels
from easel_worker.annotators.opencv import cv2

MULTIPLE = 64
"""What the networks' own shrinking divides by, with room to spare."""
MOST_PIXELS = 1 << 24
"""Of the picture that is worked on. A panorama would otherwise grow without bounds: 8000x2 at a resolution of
512 is two million pixels long. Such a picture is worked on at a lower resolution."""
LONGEST = 1 << 14
"""Of its longer side: OpenCV's `remap` counts places in 16 bits."""


def working_size(width: int, height: int, resolution: int) -> tuple[int, int]:
    """Width and height with the shorter side at `resolution`, and within `MOST_PIXELS` and `LONGEST`."""
    wanted = resolution / min(width, height)
    most = min(math.sqrt(MOST_PIXELS / (width * height)), LONGEST / max(width, height))
    if wanted <= most:
        return max(1, round(width * wanted)), max(1, round(height * wanted))
    return max(1, int(width * most)), max(1, int(height * most))


def at_resolution(picture: Pixels, resolution: int) -> tuple[Pixels, Callable[[Pixels], Pixels]]:
    """`picture`, resized and padded at its right and bottom with its last column and row.

    Returns:
        The picture, whose sides are multiples of 64; and what cuts the padding off a map of that size.
    """
    height, width = picture.shape[:2]
    w, h = working_size(width, height, resolution)
    if (w, h) != (width, height):
        grows = w * h > width * height
        picture = np.asarray(
            cv2.resize(picture, (w, h), interpolation=cv2.INTER_CUBIC if grows else cv2.INTER_AREA), np.uint8
        )
    pads = ((0, -h % MULTIPLE), (0, -w % MULTIPLE), (0, 0))
    padded = np.pad(picture, pads, mode="edge")

    def unpad(made: Pixels) -> Pixels:
        return np.ascontiguousarray(made[:h, :w])

    return padded, unpad


def three(grey: Pixels) -> Pixels:
    """(h, w) as (h, w, 3)."""
    return np.repeat(grey[..., None], 3, axis=2)
