"""Tiles of a picture, and the picture of its tiles."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from easel_worker.imaging.tiles import split, stitch, tile_grid


def test_tiles_are_spread_evenly_from_edge_to_edge() -> None:
    grid = tile_grid((1024, 768), (512, 512), 64)
    assert grid.columns == (0, 256, 512)
    assert grid.rows == (0, 256)
    assert grid.regions[4] == (256, 256, 768, 768)
    assert tile_grid((960, 512), (512, 512), 64).columns == (0, 448)


def test_a_picture_of_one_tile() -> None:
    grid = tile_grid((512, 512), (512, 512), 64)
    assert grid.regions == [(0, 0, 512, 512)]


def test_a_picture_smaller_than_a_tile() -> None:
    assert tile_grid((100, 700), (512, 512), 64).tile == (100, 512)


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    tile=st.tuples(st.integers(9, 40), st.integers(9, 40)),
    overlap=st.integers(0, 8),
)
def test_stitching_what_was_split_is_the_picture(
    size: tuple[int, int], tile: tuple[int, int], overlap: int
) -> None:
    picture = Image.effect_noise(size, 90).convert("RGB")
    grid = tile_grid(size, tile, overlap)
    assert stitch(split(picture, grid), grid).tobytes() == picture.tobytes()
    for starts, side in ((grid.columns, grid.tile[0]), (grid.rows, grid.tile[1])):
        assert all(after - before <= side - overlap for before, after in itertools.pairwise(starts))


def test_a_tile_fades_in_linearly() -> None:
    grid = tile_grid((12, 8), (8, 8), 4)
    black, white = Image.new("RGB", (8, 8)), Image.new("RGB", (8, 8), (255, 255, 255))
    across = np.asarray(stitch([black, white], grid))[3, :, 0].tolist()
    assert across == [0, 0, 0, 0, 0, 64, 128, 191, 255, 255, 255, 255]


def test_rows_fade_in_too() -> None:
    grid = tile_grid((8, 12), (8, 8), 4)
    black, white = Image.new("RGB", (8, 8)), Image.new("RGB", (8, 8), (255, 255, 255))
    down = np.asarray(stitch([white, black], grid))[:, 3, 0].tolist()
    assert down == [255, 255, 255, 255, 255, 191, 128, 64, 0, 0, 0, 0]


@pytest.mark.parametrize("overlap", [-1, 8, 100])
def test_an_overlap_that_leaves_no_tile_is_refused(overlap: int) -> None:
    with pytest.raises(
        ValueError, match=f"overlap: {overlap} should be 0 or more, and less than the tile, 8x9"
    ):
        tile_grid((64, 64), (8, 9), overlap)


def test_tiles_that_do_not_fit_are_refused() -> None:
    grid = tile_grid((12, 8), (8, 8), 4)
    with pytest.raises(ValueError, match="tiles: expected 2 of 8x8"):
        stitch([Image.new("RGB", (8, 8))], grid)
    with pytest.raises(ValueError, match="tiles: expected 2 of 8x8"):
        stitch([Image.new("RGB", (8, 8)), Image.new("RGB", (8, 9))], grid)
