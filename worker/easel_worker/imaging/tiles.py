"""Overlapping tiles of a large picture, and one picture of them again: for "SD upscale"."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from easel_worker.imaging.levels import Floats
from easel_worker.imaging.regions import Region
from easel_worker.imaging.resize import Size


@dataclass(frozen=True)
class TileGrid:
    """Where the tiles of a picture lie: row by row, all of one size, evenly spread from edge to edge.

    size: the picture's. tile: a tile's, never larger than the picture. overlap: the pixels over which a tile
    fades in over its neighbours to the left and above; neighbours share at least that many.
    """

    size: Size
    tile: Size
    overlap: int
    rows: tuple[int, ...]
    columns: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many tiles there are."""
        return len(self.rows) * len(self.columns)

    @property
    def regions(self) -> list[Region]:
        """The tiles' places, row by row."""
        width, height = self.tile
        return [Region(x, y, x + width, y + height) for y in self.rows for x in self.columns]


def tile_grid(size: Size, tile: Size, overlap: int) -> TileGrid:
    """As few tiles as cover a picture of `size` with neighbours sharing `overlap` pixels or more.

    A side of the picture that is shorter than the tile's is covered by one tile of that length. Raises
    `ValueError` unless 0 <= overlap < both sides of the tile.
    """
    if not 0 <= overlap < min(tile):
        raise ValueError(
            f"overlap: {overlap} should be 0 or more, and less than the tile, {tile[0]}x{tile[1]}"
        )
    width, height = min(tile[0], size[0]), min(tile[1], size[1])
    columns = _starts(size[0], width, overlap)
    rows = _starts(size[1], height, overlap)
    return TileGrid(size, (width, height), overlap, rows, columns)


def split(image: Image.Image, grid: TileGrid) -> list[Image.Image]:
    """The tiles of `image` (of the grid's size), row by row."""
    return [image.crop(region) for region in grid.regions]


def stitch(tiles: Sequence[Image.Image], grid: TileGrid) -> Image.Image:
    """One picture ("RGB") of the grid's tiles, row by row.

    Over the overlap a tile fades in linearly, first within its row, then row over row. What all tiles agree
    on comes out unchanged. Raises `ValueError` for a wrong number or size of tiles.
    """
    expected = len(grid.rows) * len(grid.columns)
    if len(tiles) != expected or any(tile.size != grid.tile for tile in tiles):
        raise ValueError(f"tiles: expected {expected} of {grid.tile[0]}x{grid.tile[1]}")
    columns = len(grid.columns)
    ramp = np.linspace(0.0, 1.0, grid.overlap, endpoint=False, dtype=np.float32)[:, None, None]
    rows = []
    for start in range(0, expected, columns):
        # Columns are laid along axis 0 as rows are, so that one function serves both directions.
        strips = [_levels(tile).swapaxes(0, 1) for tile in tiles[start : start + columns]]
        rows.append(_lay(strips, grid.columns, grid.size[0], ramp).swapaxes(0, 1))
    whole = _lay(rows, grid.rows, grid.size[1], ramp)
    return Image.fromarray(np.rint(whole).astype(np.uint8))


def _starts(length: int, tile: int, overlap: int) -> tuple[int, ...]:
    if tile >= length:
        return (0,)
    count = math.ceil((length - overlap) / (tile - overlap))
    return tuple((length - tile) * index // (count - 1) for index in range(count))


def _lay(strips: Sequence[Floats], starts: Sequence[int], length: int, ramp: Floats) -> Floats:
    """Lay strips along axis 0 at `starts`, each fading in over the one before."""
    laid = np.zeros((length, *strips[0].shape[1:]), dtype=np.float32)
    for strip, start in zip(strips, starts, strict=True):
        laid[start + len(ramp) : start + len(strip)] = strip[len(ramp) :]
        edge = slice(start, start + len(ramp))
        laid[edge] = (
            strip[: len(ramp)] if start == 0 else laid[edge] + (strip[: len(ramp)] - laid[edge]) * ramp
        )
    return laid


def _levels(tile: Image.Image) -> Floats:
    return np.asarray(tile.convert("RGB"), dtype=np.float32)
