"""Sizes of the hires fix."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from easel_worker.imaging.hires_size import hires_size, legacy_sizes

SIDES = st.integers(8, 2048)


@pytest.mark.parametrize(
    ("scale", "expected"), [(2.0, (1024, 768)), (1.5, (768, 576)), (1.33, (680, 510)), (1.0, (512, 384))]
)
def test_a_scale_multiplies_both_sides(scale: float, expected: tuple[int, int]) -> None:
    size = hires_size((512, 384), scale=scale)
    assert size.size == expected
    assert (size.cut_x, size.cut_y) == (0, 0)


def test_one_side_keeps_the_aspect_ratio() -> None:
    assert hires_size((512, 384), resize_x=1024).size == (1024, 768)
    assert hires_size((512, 384), resize_y=960).size == (1280, 960)
    assert hires_size((512, 384), resize_x=1000, scale=9.0).size == (1000, 750)


def test_both_sides_cover_and_cut() -> None:
    wide = hires_size((512, 512), resize_x=1024, resize_y=768)
    assert wide.size == (1024, 1024)
    assert (wide.cut_x, wide.cut_y) == (0, 32)
    assert wide.final_size == (1024, 768)
    assert wide.kept == (slice(16, 112), slice(0, 128))
    tall = hires_size((512, 512), resize_x=600, resize_y=1024)
    assert tall.size == (1024, 1024)
    assert tall.cut_x == (1024 - 600) // 8 == 53
    assert tall.kept == (slice(0, 128), slice(26, 101))  # the odd one comes off the end
    assert tall.final_size == (600, 1024)


def test_both_sides_in_the_same_ratio_cut_nothing() -> None:
    size = hires_size((512, 768), resize_x=1024, resize_y=1536)
    assert (size.size, size.cut_x, size.cut_y) == ((1024, 1536), 0, 0)
    assert size.kept == (slice(0, 192), slice(0, 128))


@settings(deadline=None)
@given(first=st.tuples(SIDES, SIDES), resize_x=SIDES, resize_y=SIDES)
def test_both_sides_are_met_to_a_latent_pixel(first: tuple[int, int], resize_x: int, resize_y: int) -> None:
    size = hires_size(first, resize_x=resize_x, resize_y=resize_y)
    assert size.width >= resize_x
    assert size.height >= resize_y
    assert abs(size.final_size[0] - resize_x) < 8
    assert abs(size.final_size[1] - resize_y) < 8
    rows, columns = size.kept
    assert (columns.stop - columns.start, rows.stop - rows.start) == tuple(
        side // 8 for side in size.final_size
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"resize_x": -8}, "hr_resize: -8x0"),
        ({"scale": 0.001}, "0x0 should be at least 8x8"),
        ({"resize_y": 7}, "0x0 should be at least 8x8"),
    ],
)
def test_sizes_without_a_latent_are_refused(fields: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hires_size((512, 512), **fields)


def test_the_legacy_rule_swaps_the_sizes() -> None:
    assert legacy_sizes((1024, 768), (512, 384)) == ((512, 384), (1024, 768))


@pytest.mark.parametrize(
    ("target", "first"), [((1024, 1024), (512, 512)), ((1024, 512), (768, 384)), ((1920, 1080), (704, 384))]
)
def test_the_legacy_first_pass_has_about_512_x_512_pixels(
    target: tuple[int, int], first: tuple[int, int]
) -> None:
    assert legacy_sizes(target, (0, 0)) == (first, target)
