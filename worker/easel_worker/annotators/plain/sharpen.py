"""Sharpening of rendered pictures, for tile_colorfix+sharp."""

from __future__ import annotations

import numpy as np

from easel_worker.annotators.annotation import Pixels
from easel_worker.annotators.opencv import cv2

RADIUS = 4
"""Pixels around each whose mean and variance count."""
FLAT = (0.02 * 255.0) ** 2
"""Variance, in squared levels, below which there is no edge to keep: noise and texture."""


def sharpened(picture: Pixels, sharpness: float) -> Pixels:
    """`picture` with its fine detail made 1 + `sharpness` times as strong; `sharpness` is 0 to 2.

    Detail is what a guided filter takes away (He, Sun and Tang, "Guided Image Filtering", 2013): it keeps
    edges, so that they get no halo, as they would from a Gaussian.
    """
    values = picture.astype(np.float32)
    side = (2 * RADIUS + 1, 2 * RADIUS + 1)
    mean = cv2.blur(values, side)
    variance = cv2.blur(values * values, side) - mean * mean
    slope = variance / (variance + FLAT)
    smooth = cv2.blur(slope, side) * values + cv2.blur(mean * (1.0 - slope), side)
    return np.rint(values + sharpness * (values - smooth)).clip(0, 255).astype(np.uint8)
