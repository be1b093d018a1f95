"""Drawn pictures, whose edges and colours are known."""

from __future__ import annotations

import cv2
import numpy as np

from easel_worker.annotators import Pixels

WHITE, RED, BLUE = (255, 255, 255), (200, 30, 30), (20, 40, 220)


def disc(width: int = 128, height: int = 128, radius: int = 40, colour: tuple[int, int, int] = RED) -> Pixels:
    """A disc in the middle of white."""
    picture = np.full((height, width, 3), 255, np.uint8)
    cv2.circle(picture, (width // 2, height // 2), radius, colour, -1)
    return picture


def halves(width: int = 128, height: int = 128) -> Pixels:
    """Red on the left, blue on the right."""
    picture = np.empty((height, width, 3), np.uint8)
    picture[:, : width // 2], picture[:, width // 2 :] = RED, BLUE
    return picture


def noise(width: int = 128, height: int = 128, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def distances(width: int, height: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """(height, width): of each pixel from the middle."""
    y, x = np.mgrid[:height, :width]
    made: np.ndarray[tuple[int, int], np.dtype[np.float64]] = np.hypot(x - width // 2, y - height // 2)
    return made
