"""Masks as clients send them, and what becomes of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from easel_worker.imaging import masks
from easel_worker.imaging.gaussian import blur_kernel, blur_rows
from easel_worker.imaging.resize import Size


def grey(levels: list[list[int]]) -> Image.Image:
    return Image.fromarray(np.array(levels, dtype=np.uint8))


def listed(mask: Image.Image) -> list[list[int]]:
    levels: list[list[int]] = np.asarray(mask).tolist()
    return levels


def test_a_grey_mask_is_its_own_brightness() -> None:
    assert listed(masks.mask_from(grey([[0, 7, 128, 255]]))) == [[0, 7, 128, 255]]


def test_a_colour_mask_is_its_luma() -> None:
    """ITU-R 601: 0.299 R + 0.587 G + 0.114 B."""
    mask = Image.new("RGB", (3, 1))
    mask.putdata([(255, 0, 0), (0, 255, 0), (0, 0, 255)])
    assert listed(masks.mask_from(mask)) == [[76, 150, 29]]


def test_a_bilevel_mask_is_black_and_white() -> None:
    mask = Image.new("1", (2, 1))
    mask.putpixel((1, 0), 1)
    assert listed(masks.mask_from(mask)) == [[0, 255]]


def test_a_palette_mask_is_its_colours_luma() -> None:
    mask = Image.new("P", (2, 1))
    mask.putpalette([0, 0, 0, 255, 255, 255])
    mask.putpixel((1, 0), 1)
    assert listed(masks.mask_from(mask)) == [[0, 255]]


def test_a_palettes_transparency_is_alpha() -> None:
    mask = Image.new("P", (2, 1))
    mask.putpalette([255, 0, 0, 0, 255, 0])
    mask.putpixel((1, 0), 1)
    mask.info["transparency"] = 0
    assert listed(masks.mask_from(mask)) == [[0, 255]]


def test_alpha_is_the_mask_where_it_is_not_opaque() -> None:
    mask = Image.new("RGBA", (4, 1))
    mask.putdata([(255, 255, 255, 0), (0, 0, 0, 128), (0, 0, 0, 129), (0, 0, 0, 255)])
    assert listed(masks.mask_from(mask)) == [[0, 0, 255, 255]]
    assert listed(masks.mask_from(mask, hard_alpha=False)) == [[0, 128, 129, 255]]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_opaque_alpha_says_nothing(mode: str) -> None:
    mask = grey([[0, 255]]).convert(mode)
    assert listed(masks.mask_from(mask)) == [[0, 255]]


def test_inversion() -> None:
    assert listed(masks.invert(grey([[0, 1, 255]]))) == [[255, 254, 0]]


def test_blank_masks() -> None:
    assert masks.is_blank(Image.new("L", (5, 5), 0))
    dot = Image.new("L", (5, 5), 0)
    dot.putpixel((4, 4), 1)
    assert not masks.is_blank(dot)


@pytest.mark.parametrize(("sigma", "length"), [(0.1, 1), (1, 7), (4, 21), (8, 41), (64, 321)])
def test_kernel_lengths(sigma: float, length: int) -> None:
    kernel = blur_kernel(sigma)
    assert len(kernel) == length == 2 * int(2.5 * sigma + 0.5) + 1
    assert kernel.sum() == pytest.approx(1.0)


def test_blurring_a_dot_draws_the_kernel() -> None:
    dot = Image.new("L", (15, 15), 0)
    dot.putpixel((7, 7), 255)
    weights = [math.exp(-(d**2) / 2) for d in range(-3, 4)]  # sigma 1
    expected = [round(255 * weight / sum(weights)) for weight in weights]
    across = np.asarray(masks.blur(dot, 1, 0))
    assert across[7, 4:11].tolist() == expected
    assert across.sum() == sum(expected)
    down = np.asarray(masks.blur(dot, 0, 1))
    assert down[4:11, 7].tolist() == expected


def test_beyond_the_border_a_mask_is_mirrored() -> None:
    """50, 100, 200 goes on as … 200, 100 | 50, 100, 200 | 100, 50 …: the border pixel is not repeated."""
    around = [100, 200, 100, 50, 100, 200, 100, 50, 100]
    kernel = blur_kernel(1)  # seven weights
    expected = [round(float(np.dot(kernel, around[i : i + 7]))) for i in (0, 1, 2)]
    assert listed(masks.blur(grey([[50, 100, 200]]), 1, 0)) == [expected]


@settings(deadline=None)
@given(
    size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    level=st.integers(0, 255),
    sigma=st.floats(0, 50),
)
def test_blurring_changes_no_even_mask(size: Size, level: int, sigma: float) -> None:
    mask = Image.new("L", size, level)
    assert masks.blur(mask, sigma, sigma).tobytes() == mask.tobytes()


@pytest.mark.parametrize("length", [255, 256, 257, 600])
@pytest.mark.parametrize("sigma", [0.7, 5.0, 120.0])
def test_long_sides_are_blurred_as_short_ones_are(length: int, sigma: float) -> None:
    """Against a convolution of the mirrored values, over the borders of the blocks it is done in."""
    values = np.random.default_rng(length).random((length, 2), dtype=np.float32)
    kernel = blur_kernel(sigma)
    around = np.pad(values, ((len(kernel) // 2, len(kernel) // 2), (0, 0)), mode="reflect")
    expected = np.stack([np.convolve(column, kernel, mode="valid") for column in around.T], axis=1)
    assert blur_rows(values, sigma) == pytest.approx(expected, abs=1e-5)


def test_a_latent_mask_is_an_eighth() -> None:
    mask = Image.new("L", (32, 16), 0)
    mask.paste(255, (16, 0, 32, 16))
    assert masks.latent_mask(mask, (4, 2)).tolist() == [[0, 0, 1, 1], [0, 0, 1, 1]]


def test_a_soft_latent_mask_keeps_its_grey() -> None:
    mask = Image.new("L", (20, 12), 51)
    assert masks.latent_mask(mask, (2, 1), rounded=False) == pytest.approx(np.full((1, 2), 0.2))
    assert masks.latent_mask(mask, (2, 1)).tolist() == [[0, 0]]


def test_a_rounded_latent_mask_has_two_values() -> None:
    ramp = Image.linear_gradient("L").resize((67, 45))
    assert set(np.unique(masks.latent_mask(ramp, (8, 5)))) == {0.0, 1.0}


def test_contrast_is_doubled_and_clipped() -> None:
    assert listed(masks.raise_contrast(grey([[0, 1, 127, 128, 255]]))) == [[0, 2, 254, 255, 255]]
