"""Preprocessors that draw lines, by OpenCV."""

from __future__ import annotations

import numpy as np

from easel_worker.annotators.annotation import Controls, Pixels
from easel_worker.annotators.canvas import three
from easel_worker.annotators.opencv import cv2


def canny(picture: Pixels, controls: Controls) -> Pixels:
    """White edges on black (Canny, "A Computational Approach to Edge Detection", 1986). a, b: the gradients
    from which an edge is followed, and from which one begins; 1 to 255."""
    return three(np.asarray(cv2.Canny(picture, controls.a, controls.b), np.uint8))


def scribble_xdog(picture: Pixels, controls: Controls) -> Pixels:
    """White strokes on black, where the picture is darker than its surroundings: a difference of Gaussians
    (Winnemoeller et al., "XDoG", 2012) of 0.5 and 5 pixels. a: how much darker, in half levels; 1 to 64."""
    values = picture.astype(np.float32)
    narrow, wide = cv2.GaussianBlur(values, (0, 0), 0.5), cv2.GaussianBlur(values, (0, 0), 5.0)
    darker = (wide - narrow).min(axis=2)
    return three(np.where(2.0 * darker > controls.a, 255, 0).astype(np.uint8))


LINEART_SIGMA = 6.0
"""In pixels: lines that are narrower than about this stand out."""
LINEART_FAINT = 8.0
"""Levels; see `line_strength`."""
LINEART_LEAST = 16.0
"""Levels; a picture whose lines are all fainter is not made louder than this allows."""


def lineart_standard(picture: Pixels, controls: Controls) -> Pixels:
    """Grey lines on black, from dark lines on a light ground."""
    return three(line_strength(picture, LINEART_SIGMA, LINEART_FAINT))


def line_strength(picture: Pixels, sigma: float, faint: float) -> Pixels:
    """(h, w): how much darker a pixel is than what is around it within `sigma` pixels, scaled so that the
    picture's usual line gets 127. What is not darker than `faint` levels is paper, and does not count for the
    usual line. As in controlnet_aux (``lineart_standard/__init__.py``), with its constants."""
    values = picture.astype(np.float32)
    strength = (cv2.GaussianBlur(values, (0, 0), sigma) - values).min(axis=2).clip(0, 255)
    lines = strength[strength > faint]
    usual = max(LINEART_LEAST, float(np.median(lines))) if lines.size else LINEART_LEAST
    return np.asarray((strength / usual * 127.0).clip(0, 255), np.uint8)


def invert(picture: Pixels, controls: Controls) -> Pixels:
    """The negative: for drawings of black lines on white."""
    return np.asarray(255 - picture, np.uint8)


def threshold(picture: Pixels, controls: Controls) -> Pixels:
    """White where every channel is above a (0 to 255), else black."""
    return three(np.where(picture.min(axis=2) > controls.a, 255, 0).astype(np.uint8))
