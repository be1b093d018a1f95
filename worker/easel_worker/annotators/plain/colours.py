"""Preprocessors that keep colours or layout and drop detail, by OpenCV."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from easel_worker.annotators.annotation import Controls, Pixels
from easel_worker.annotators.canvas import three
from easel_worker.annotators.opencv import cv2

CELL = 64
"""Side of a cell of the colour grid, in pixels (Mou et al., "T2I-Adapter", 2023)."""
DISK = 256
"""Distance of the shuffle's random points, in pixels (Zhang et al., ControlNet 1.1, content shuffle)."""


def same(picture: Pixels, controls: Controls) -> Pixels:
    """The picture itself."""
    return picture


def blur_gaussian(picture: Pixels, controls: Controls) -> Pixels:
    """a: the Gaussian's sigma in pixels; 0.01 to 64."""
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), controls.a), np.uint8)


def tile_resample(picture: Pixels, controls: Controls) -> Pixels:
    """The picture with its sides divided by a (1 to 8): what a tile model adds detail to."""
    rate = max(controls.a, 1.0)
    height, width = picture.shape[:2]
    size = max(1, round(width / rate)), max(1, round(height / rate))
    if size == (width, height):
        return picture
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def color_grid(picture: Pixels, controls: Controls) -> Pixels:
    """Squares of 64 pixels, each of one colour: its mean."""
    height, width = picture.shape[:2]
    cells = cv2.resize(picture, (max(1, width // CELL), max(1, height // CELL)), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(cells, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)


def recolor_luminance(picture: Pixels, controls: Controls) -> Pixels:
    """Grey: the lightness of CIELAB, raised to the power a (0.1 to 2)."""
    return _gamma(np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2LAB)[..., 0], np.uint8), controls.a)


def recolor_intensity(picture: Pixels, controls: Controls) -> Pixels:
    """Grey: the value of HSV, which is the strongest channel, raised to the power a (0.1 to 2)."""
    return _gamma(picture.max(axis=2), controls.a)


def shuffle(picture: Pixels, controls: Controls) -> Pixels:
    """The picture's content, moved by a smooth random flow: colours and style stay, the layout goes.

    The flow is drawn as controlnet_aux draws it (``util.py``, ``shuffle/__init__.py``), from NumPy's legacy
    generator with `controls.seed`: the same seed gives the same map, here and there.
    """
    height, width = picture.shape[:2]
    draws = np.random.RandomState(controls.seed % 2**32)
    across = _smooth(draws, width, height) * (width - 1)
    down = _smooth(draws, width, height) * (height - 1)
    moved = cv2.remap(picture, across.astype(np.float32), down.astype(np.float32), cv2.INTER_LINEAR)
    return np.asarray(moved, np.uint8)


def _smooth(draws: np.random.RandomState, width: int, height: int) -> NDArray[np.float64]:
    """(height, width) smooth noise that spans 0 to 1."""
    points = draws.uniform(0, 1, (height // DISK + 2, width // DISK + 2))
    wide = cv2.resize(points, (width + 2 * DISK, height + 2 * DISK), interpolation=cv2.INTER_CUBIC)
    noise: NDArray[np.float64] = np.array(wide[DISK : DISK + height, DISK : DISK + width], np.float64)
    noise -= noise.min()
    noise /= max(float(noise.max()), 1e-12)
    return noise


def _gamma(grey: NDArray[np.uint8], power: float) -> Pixels:
    table = ((np.arange(256) / 255.0) ** power * 255.0 + 0.5).astype(np.uint8)
    return three(table[grey])
