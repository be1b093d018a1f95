"""Captions around a grid."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from easel_worker.imaging.captions import INACTIVE, MAX_CHARACTERS, Caption, annotate

CELL = (96, 64)
BLUE = (20, 60, 200)


def grid(columns: int, rows: int) -> Image.Image:
    return Image.new("RGB", (CELL[0] * columns, CELL[1] * rows), BLUE)


def ink(picture: Image.Image) -> int:
    """How many pixels are neither white nor the cells' colour."""
    levels = np.asarray(picture).astype(int)
    return int(((levels != 255).any(axis=-1) & (levels != BLUE).any(axis=-1)).sum())


def test_no_captions_leave_the_grid_as_it_is() -> None:
    picture = grid(3, 2)
    assert annotate(picture, CELL, [[], [], []], [[], []]).tobytes() == picture.tobytes()


def test_empty_captions_make_no_room() -> None:
    assert annotate(grid(1, 1), CELL, [[Caption(" ")]], [[Caption("")]]).size == CELL


def test_a_margin_goes_between_the_cells() -> None:
    picture = annotate(grid(3, 2), CELL, [[]] * 3, [[]] * 2, margin=10)
    assert picture.size == (3 * 96 + 20, 2 * 64 + 10)
    assert picture.getpixel((96, 0)) == (255, 255, 255)
    assert picture.getpixel((106, 0)) == BLUE
    assert picture.getpixel((0, 64)) == (255, 255, 255)


def test_columns_make_room_above_and_rows_at_the_left() -> None:
    captions = [[Caption("one")], [Caption("two")]]
    above = annotate(grid(2, 1), CELL, captions, [[]])
    assert above.width == 2 * 96
    top = above.height - 64
    assert top > 0
    assert ink(above.crop((0, 0, 96, top))) > 0
    assert ink(above.crop((96, 0, 192, top))) > 0
    assert above.crop((0, top, 192, above.height)).tobytes() == grid(2, 1).tobytes()
    left = annotate(grid(1, 2), CELL, [[]], captions)
    assert left.size == (96 * 3 // 4 + 96, 128)
    assert ink(left.crop((0, 0, 72, 64))) > 0
    assert ink(left.crop((0, 64, 72, 128))) > 0


def test_inactive_captions_are_grey() -> None:
    active = annotate(grid(1, 1), CELL, [[Caption("xxxxx")]], [[]])
    inactive = annotate(grid(1, 1), CELL, [[Caption("xxxxx", active=False)]], [[]])
    top = inactive.height - CELL[1]
    written, struck = np.asarray(active)[:top], np.asarray(inactive)[:top]
    assert written.min() < 100
    assert struck.min() == INACTIVE[0]
    assert (struck == INACTIVE[0]).all(axis=-1).sum(axis=1).max() >= 10  # the line through it


@pytest.mark.parametrize("text", ["many words " * 30, "w" * 400, "two\nlines", "x" * 10**6, "日本語 🎨"])
def test_text_stays_inside_its_place(text: str) -> None:
    picture = annotate(grid(2, 1), CELL, [[Caption(text)], []], [[Caption(text)]])
    top, left = picture.height - 64, 72
    assert ink(picture.crop((0, top, left, picture.height))) > 0
    assert picture.crop((left, top, picture.width, picture.height)).tobytes() == grid(2, 1).tobytes()
    assert ink(picture.crop((left + 96 + 1, 0, picture.width, top))) == 0


def test_a_megabyte_is_cut() -> None:
    cut = annotate(grid(1, 1), CELL, [[Caption("x" * 10**6)]], [[]])
    assert cut.tobytes() == annotate(grid(1, 1), CELL, [[Caption("x" * MAX_CHARACTERS)]], [[]]).tobytes()


def test_several_captions_stand_below_each_other() -> None:
    one = annotate(grid(1, 1), CELL, [[Caption("a")]], [[]])
    two = annotate(grid(1, 1), CELL, [[Caption("a"), Caption("b", active=False)]], [[]])
    assert two.height > one.height


def test_captions_that_do_not_fit_the_grid_are_refused() -> None:
    with pytest.raises(ValueError, match="captions: 1 x 2 for a grid of 2 x 2 cells"):
        annotate(grid(2, 2), CELL, [[]], [[], []])
    with pytest.raises(ValueError, match="margin: -1"):
        annotate(grid(1, 1), CELL, [[]], [[]], margin=-1)
