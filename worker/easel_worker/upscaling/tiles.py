"""A network over a large picture, tile by tile, without seams."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.float32]
"""(height, width, 3), 0 to 1."""

TILE = 192
"""Pixels of a side, A1111's default: what a network sees at once."""
OVERLAP = 8
"""Pixels that neighbours share, A1111's default; there one fades into the other."""


def run_in_tiles(
    pixels: Pixels,
    network: Callable[[Pixels], Pixels],
    *,
    scale: int,
    tile: int = TILE,
    overlap: int = OVERLAP,
    tick: Callable[[], None] = lambda: None,
) -> Pixels:
    """`network` over every tile, put together at `scale` times the size.

    In the overlap the weight of a tile falls linearly from 1 to 0, as the neighbour's rises.

    Args:
        pixels: The picture.
        network: From (h, w, 3) to (h * scale, w * scale, 3); all tiles of a picture have one size.
        scale: What the network multiplies a side by.
        tile: Side of a tile in pixels of the input; 0 takes the picture whole.
        overlap: At least so many pixels of the input belong to two neighbours; less than half a tile.
        tick: Called before each tile.
    """
    height, width = pixels.shape[:2]
    if tile <= 0 or (height <= tile and width <= tile):
        tick()
        return network(pixels)
    overlap = min(overlap, tile // 2)
    side_y, side_x = min(tile, height), min(tile, width)
    total = np.zeros((height * scale, width * scale, 3), np.float32)
    weights = np.zeros((height * scale, width * scale, 1), np.float32)
    for top in _starts(height, side_y, overlap):
        for left in _starts(width, side_x, overlap):
            tick()
            part = network(pixels[top : top + side_y, left : left + side_x])
            weight = (
                _fade(side_y, top, height, overlap, scale)[:, None, None]
                * (_fade(side_x, left, width, overlap, scale)[None, :, None])
            )
            place = np.s_[
                top * scale : (top + side_y) * scale,
                left * scale : (left + side_x) * scale,
            ]
            total[place] += part * weight
            weights[place] += weight
    total /= weights
    return total


def _starts(length: int, tile: int, overlap: int) -> list[int]:
    """Where tiles begin: evenly spread, none beyond the edge."""
    if length <= tile:
        return [0]
    count = -(-(length - overlap) // (tile - overlap))
    return [round(number * (length - tile) / (count - 1)) for number in range(count)]


def _fade(tile: int, start: int, length: int, overlap: int, scale: int) -> NDArray[np.float32]:
    """Weights along one side: 1, with a slope towards every edge that is not the picture's own."""
    weight = np.ones(tile * scale, np.float32)
    steps = overlap * scale
    slope = (np.arange(steps, dtype=np.float32) + 1) / (steps + 1)
    if steps and start > 0:
        weight[:steps] = slope
    if steps and start + tile < length:
        weight[-steps:] = slope[::-1]
    return weight
