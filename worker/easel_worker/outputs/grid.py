"""One picture of many."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

WHITE = 255


def grid_shape(count: int) -> tuple[int, int]:
    """Rows and columns for `count` pictures: rows = round(sqrt(count)), as A1111 with ``n_rows`` -1."""
    rows = min(max(1, round(math.sqrt(count))), count)
    return rows, math.ceil(count / rows)


def make_grid(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lay pictures (N, H, W, 3) out row by row on white; returns (rows * H, columns * W, 3)."""
    count, height, width, channels = images.shape
    rows, columns = grid_shape(count)
    cells = np.full((rows * columns, height, width, channels), WHITE, dtype=np.uint8)
    cells[:count] = images
    tiled = cells.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    return np.ascontiguousarray(tiled.reshape(rows * height, columns * width, channels))
