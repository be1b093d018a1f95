"""One picture of many."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from easel_contract.options import RenderOptions

WHITE = (255, 255, 255)


def grid_shape(count: int, options: RenderOptions | None = None, batch_size: int = 1) -> tuple[int, int]:
    """Rows and columns for `count` pictures, by A1111's rule.

    `n_rows` > 0: that many rows; 0: the batch size; -1: round(sqrt(count)), or with
    `grid_prevent_empty_spots` the largest divisor of `count` that is no larger than its root. Never more rows
    than pictures.
    """
    options = options or RenderOptions()
    if options.n_rows > 0:
        rows = options.n_rows
    elif options.n_rows == 0:
        rows = batch_size
    elif options.grid_prevent_empty_spots:
        rows = next(rows for rows in range(math.isqrt(count), 0, -1) if count % rows == 0)
    else:
        rows = round(math.sqrt(count))
    rows = min(max(1, rows), count)
    return rows, math.ceil(count / rows)


def make_grid(
    images: Sequence[NDArray[np.uint8]] | NDArray[np.uint8],
    shape: tuple[int, int] | None = None,
    background: tuple[int, ...] = WHITE,
) -> NDArray[np.uint8]:
    """Lay pictures (H, W, 3) out row by row, each in the top left corner of its cell.

    A cell is as wide as the widest and as high as the highest picture. Masks (H, W) and alpha channels become
    RGB.

    Args:
        images: Several, of any sizes.
        shape: Rows and columns; default `grid_shape` of the defaults.
        background: Colour of the empty places, red, green and blue from 0 to 255.

    Returns:
        (rows * cell height, columns * cell width, 3).
    """
    rows, columns = shape or grid_shape(len(images))
    height, width = _cell(images)
    grid = np.empty((rows * height, columns * width, 3), dtype=np.uint8)
    grid[:] = background
    for index, image in enumerate(images):
        top, left = index // columns * height, index % columns * width
        colours = image[..., None] if image.ndim == 2 else image[..., :3]
        grid[top : top + image.shape[0], left : left + image.shape[1]] = colours
    return grid


def grid_pixels(images: Sequence[NDArray[np.uint8]], shape: tuple[int, int]) -> int:
    """How many pixels `make_grid` would make."""
    height, width = _cell(images)
    return shape[0] * height * shape[1] * width


def _cell(images: Sequence[NDArray[np.uint8]] | NDArray[np.uint8]) -> tuple[int, int]:
    """Height and width."""
    return max(image.shape[0] for image in images), max(image.shape[1] for image in images)
