"""Resize modes 0 to 2, on pictures small enough to say what every pixel should be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from easel_worker.imaging.resize import (
    ResizeMode,
    Size,
    contained_size,
    covering_size,
    resize,
    scale_to,
)

SIDES = st.integers(1, 40)


def rows(*levels: int, width: int = 4) -> Image.Image:
    """An RGB picture whose row y is filled with ``levels[y]``."""
    column = np.array(levels, dtype=np.uint8)[:, None, None]
    return Image.fromarray(np.broadcast_to(column, (len(levels), width, 3)).copy())


def levels_of(image: Image.Image) -> list[int]:
    """The first column's red."""
    return np.asarray(image)[:, 0, 0].tolist()


def test_stretching_ignores_the_aspect_ratio() -> None:
    stretched = resize(Image.new("RGB", (8, 4), (10, 20, 30)), (3, 9), ResizeMode.STRETCH)
    assert stretched.size == (3, 9)
    assert stretched.getcolors() == [(27, (10, 20, 30))]


def test_stretching_is_lanczos() -> None:
    picture = Image.effect_noise((16, 16), 80).convert("RGB")
    expected = picture.resize((24, 9), Image.Resampling.LANCZOS)
    assert resize(picture, (24, 9)).tobytes() == expected.tobytes()


def test_covering_cuts_both_ends_off_equally() -> None:
    picture = rows(1, 2, 3, 4, 5, 6, 7, 8)
    assert levels_of(resize(picture, (4, 4), ResizeMode.COVER)) == [3, 4, 5, 6]


def test_covering_an_odd_rest_keeps_the_pixel_after_the_middle() -> None:
    assert levels_of(resize(rows(1, 2, 3, 4, 5), (4, 4), ResizeMode.COVER)) == [1, 2, 3, 4]


def test_containing_repeats_the_edge_rows() -> None:
    picture = resize(rows(50, 200), (4, 6), ResizeMode.CONTAIN)
    assert levels_of(picture) == [50, 50, 50, 200, 200, 200]


def test_containing_repeats_the_edge_columns() -> None:
    picture = rows(50, 200, width=2).transpose(Image.Transpose.ROTATE_90)  # columns 50, 200
    across = np.asarray(resize(picture, (6, 2), ResizeMode.CONTAIN))[0, :, 0].tolist()
    assert across == [50, 50, 50, 200, 200, 200]


def test_an_odd_border_is_filled_to_the_last_row() -> None:
    """5 rows for a picture of 2: one above, two below, none left black."""
    assert levels_of(resize(rows(50, 200), (4, 5), ResizeMode.CONTAIN)) == [50, 50, 200, 200, 200]


def test_a_mask_is_resized_in_every_mode() -> None:
    mask = Image.new("L", (8, 4), 255)
    for mode in ResizeMode:
        resized = resize(mask, (6, 6), mode)
        assert (resized.mode, resized.getextrema()) == ("L", (255, 255))


@settings(deadline=None)
@given(source=st.tuples(SIDES, SIDES), target=st.tuples(SIDES, SIDES), mode=st.sampled_from(ResizeMode))
def test_every_mode_gives_the_target_size_and_no_new_colour(
    source: Size, target: Size, mode: ResizeMode
) -> None:
    resized = resize(Image.new("RGB", source, (7, 80, 250)), target, mode)
    assert resized.size == target
    assert resized.getcolors() == [(target[0] * target[1], (7, 80, 250))]


@settings(deadline=None)
@given(source=st.tuples(SIDES, SIDES), target=st.tuples(SIDES, SIDES))
def test_covering_and_contained_sizes_touch_the_target(source: Size, target: Size) -> None:
    covering, contained = covering_size(source, target), contained_size(source, target)
    assert any(a == b for a, b in zip(covering, target, strict=True))
    assert all(a >= b for a, b in zip(covering, target, strict=True))
    assert any(a == b for a, b in zip(contained, target, strict=True))
    assert all(a <= b for a, b in zip(contained, target, strict=True))


def test_an_upscaler_enlarges_and_lanczos_makes_up_the_rest() -> None:
    asked: list[Size] = []

    def double(image: Image.Image, size: Size) -> Image.Image:
        asked.append(size)
        return image.resize((image.width * 2, image.height * 2), Image.Resampling.NEAREST)

    picture = rows(10, 250)
    upscaled = scale_to(picture, (8, 3), double)
    assert asked == [(8, 3)]
    expected = picture.resize((8, 4), Image.Resampling.NEAREST).resize((8, 3), Image.Resampling.LANCZOS)
    assert upscaled.tobytes() == expected.tobytes()


def test_an_upscaler_sees_neither_masks_nor_pictures_that_shrink() -> None:
    def refuse(image: Image.Image, size: Size) -> Image.Image:
        raise AssertionError(f"{image.mode} to {size}")

    assert resize(Image.new("L", (4, 4)), (8, 8), upscaler=refuse).size == (8, 8)
    assert resize(Image.new("RGB", (8, 8)), (8, 4), upscaler=refuse).size == (8, 4)


@pytest.mark.parametrize("size", [(0, 8), (8, -1)])
def test_a_size_without_pixels_is_refused(size: Size) -> None:
    with pytest.raises(ValueError, match="should be at least 1x1"):
        resize(Image.new("RGB", (4, 4)), size)
