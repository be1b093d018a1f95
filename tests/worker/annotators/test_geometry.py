"""How maps are fitted to a job: sizes, borders, what stays two-coloured, and masks."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from easel_contract.controlnet import ResizeMode
from easel_worker.annotators.geometry import fit_hint, pixel_perfect_resolution, scale, to_hint

from .pictures import BLUE, RED, disc, halves, noise

STRETCH, CROP, FILL = ResizeMode


@pytest.mark.parametrize("mode", list(ResizeMode))
@pytest.mark.parametrize("source", [(64, 64), (100, 40), (40, 100), (31, 57), (1, 1), (5, 400)])
@pytest.mark.parametrize("target", [(64, 64), (96, 32), (33, 65)])
def test_the_size_is_the_jobs(mode: ResizeMode, source: tuple[int, int], target: tuple[int, int]) -> None:
    for picture in (noise(*source), np.dstack([noise(*source), np.zeros(source[::-1], np.uint8)])):
        made = fit_hint(picture, mode, *target)
        assert made.shape == (target[1], target[0], picture.shape[2])
        assert made.dtype == np.uint8
        assert made.flags.c_contiguous


def test_a_map_of_the_jobs_size_stays_as_it_is() -> None:
    for mode in ResizeMode:
        np.testing.assert_array_equal(fit_hint(noise(40, 30), mode, 40, 30), noise(40, 30))


def test_stretching_loses_the_aspect_ratio() -> None:
    made = fit_hint(halves(128, 64), STRETCH, 64, 128)
    assert (made[:, :31] == RED).all()
    assert (made[:, 33:] == BLUE).all()


def test_cropping_keeps_the_middle() -> None:
    picture = np.zeros((60, 120, 3), np.uint8)
    picture[:, 40:80] = RED
    picture[:, :40], picture[:, 80:] = (1, 2, 3), BLUE
    made = fit_hint(picture, CROP, 60, 60)
    np.testing.assert_array_equal(made, picture[:, 30:90])


def test_a_stripe_is_cropped_without_growing_first() -> None:
    made = fit_hint(np.full((1, 30_000, 3), 9, np.uint8), CROP, 512, 512)
    assert made.shape == (512, 512, 3)
    assert (made == 9).all()
    ramp = np.repeat(np.arange(20_000, dtype=np.uint32)[None, :, None] >> 7, 3, axis=2).astype(np.uint8)
    assert abs(int(fit_hint(ramp, CROP, 64, 64)[32, 32, 0]) - 10_000 // 128) <= 1, "its middle"


def test_filling_shows_all_and_gives_the_border_the_median_of_the_edge() -> None:
    picture = np.full((40, 80, 3), 50, np.uint8)
    picture[10:30, 20:60] = 200
    picture[0, :8] = 255  # fewer than half of the edge
    made = fit_hint(picture, FILL, 80, 80)
    np.testing.assert_array_equal(made[20:60], picture)
    assert (made[:20] == 50).all()
    assert (made[60:] == 50).all()


def test_filling_masks_the_border_where_there_is_a_mask() -> None:
    picture = np.dstack([noise(80, 40), np.zeros((40, 80), np.uint8)])
    hint = to_hint(fit_hint(picture, FILL, 80, 80))[0].numpy()
    assert (hint[:, :20] == -1).all()
    assert (hint[:, 60:] == -1).all()
    assert (hint[:, 20:60] >= 0).all()


def test_masked_pixels_stay_masked_and_no_others_are() -> None:
    mask = np.zeros((32, 32), np.uint8)
    mask[8:16, 8:24] = 255
    for width in (64, 48, 16):
        hint = to_hint(fit_hint(np.dstack([noise(32, 32), mask]), STRETCH, width, width))[0].numpy()
        hidden = (hint == -1).all(axis=0)
        assert ((hint == -1).any(axis=0) == hidden).all()
        assert (hint[:, ~hidden] >= 0).all(), "nothing between -1 and 0"
        expected = cv2.resize(mask, (width, width), interpolation=cv2.INTER_NEAREST_EXACT) == 255
        assert (hidden != expected).mean() < 0.06


def test_few_colours_stay_just_those() -> None:
    labels = np.zeros((60, 60, 3), np.uint8)
    labels[:, :20], labels[:, 20:40], labels[:, 40:] = RED, BLUE, (7, 200, 9)
    for side in (90, 25):
        made = fit_hint(labels, STRETCH, side, side)
        assert {tuple(colour) for colour in made.reshape(-1, 3)} == {RED, BLUE, (7, 200, 9)}


@pytest.mark.parametrize("side", [1024, 400, 100, 64])
def test_an_outline_stays_two_coloured_and_closed(side: int) -> None:
    picture = np.zeros((256, 256, 3), np.uint8)
    cv2.circle(picture, (128, 128), 90, (255, 255, 255), 1)
    made = fit_hint(picture, STRETCH, side, side)
    assert set(np.unique(made)) == {0, 255}
    _, labels = cv2.connectedComponents((made[..., 0] == 0).astype(np.uint8), connectivity=4)
    assert labels[side // 2, side // 2] != labels[0, 0], "inside and outside do not meet"
    drawn = np.argwhere(made[..., 0] == 255) - side / 2
    assert abs(np.hypot(*drawn.T).mean() - 90 * side / 256) < 1.5 + side / 256


def test_a_black_line_on_white_stays_too() -> None:
    picture = np.full((128, 128, 3), 255, np.uint8)
    picture[:, 63] = 0
    made = fit_hint(picture, STRETCH, 32, 32)
    assert set(np.unique(made)) == {0, 255}
    assert (made == 0).any(axis=(1, 2)).all(), "in every row"
    assert (made == 0).mean() < 0.1


def test_photographs_are_averaged_when_they_shrink() -> None:
    made = scale(noise(64, 64), 8, 8)
    blocks = noise(64, 64).reshape(8, 8, 8, 8, 3).mean(axis=(1, 3))
    assert np.abs(made - blocks).max() <= 1


def test_a_picture_of_one_colour_stays_so() -> None:
    made = fit_hint(np.full((9, 9, 3), 77, np.uint8), STRETCH, 64, 40)
    assert (made == 77).all()


def test_a_size_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="0x8"):
        fit_hint(disc(), STRETCH, 0, 8)


@pytest.mark.parametrize(
    ("source", "target", "mode", "resolution"),
    [
        ((100, 100), (100, 50), FILL, 50),
        ((100, 100), (100, 50), CROP, 100),
        ((100, 100), (100, 50), STRETCH, 100),
        ((1000, 500), (512, 512), CROP, 512),
        ((1000, 500), (512, 512), FILL, 256),
        ((64, 64), (512, 768), CROP, 768),
        ((3000, 1), (64, 64), FILL, 1),
    ],
)
def test_pixel_perfect(
    source: tuple[int, int], target: tuple[int, int], mode: ResizeMode, resolution: int
) -> None:
    assert pixel_perfect_resolution(source, target, mode) == resolution


def test_a_hint_is_a_map_of_floats() -> None:
    hint = to_hint(disc(20, 10))
    assert tuple(hint.shape) == (1, 3, 10, 20)
    np.testing.assert_allclose(hint[0].numpy().transpose(1, 2, 0), disc(20, 10) / 255.0, atol=1e-6)
