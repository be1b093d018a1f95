"""Pictures that grow: margins, matched noise, masks, and the way back together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops

from easel_worker.imaging.outpainting import Margins, Side, expand, margins, poor_mans
from easel_worker.imaging.spectral import matched_noise

from .conftest import Paint


def floats(picture: Image.Image) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.asarray(picture, dtype=np.float32) / 255


def hole(height: int, width: int, columns: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    unknown = np.zeros((height, width), dtype=np.float32)
    unknown[:, :columns] = 1
    return unknown


# ---- margins


def test_the_usual_call_grows_all_sides() -> None:
    grown = margins((512, 512), 128, ["left", "right", "up", "down"])
    assert grown == Margins(128, 128, 128, 128)
    assert grown.grown((512, 512)) == (768, 768)
    assert grown.steps() == [(Side.LEFT, 128), (Side.RIGHT, 128), (Side.UP, 128), (Side.DOWN, 128)]


def test_a_surplus_is_shared_out() -> None:
    assert margins((500, 500), 100, ["left"]) == Margins(left=140)
    assert margins((500, 500), 100, ["right", "left"]) == Margins(left=102, right=102)


@settings(deadline=None)
@given(side=st.integers(1, 3000), pixels=st.integers(1, 600), one=st.booleans())
def test_what_grows_becomes_a_multiple_of_64(side: int, pixels: int, one: bool) -> None:
    grown = margins((side, side), pixels, ["up"] if one else ["up", "down"])
    width, height = grown.grown((side, side))
    assert width == side
    assert height % 64 == 0
    assert 0 <= height - side - pixels * (1 if one else 2) < 64
    assert grown.up >= pixels
    assert one or grown.down >= pixels


def test_nowhere_to_grow() -> None:
    assert margins((500, 500), 128, []) == margins((500, 500), 0, ["left"]) == Margins()
    assert Margins().steps() == []


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="directions: 'north' is unknown, use some of left, right, up, down"):
        margins((64, 64), 8, ["north"])
    with pytest.raises(ValueError, match="pixels: -8 should be 0 or more"):
        margins((64, 64), -8, ["left"])


# ---- matched noise


def test_what_is_known_stays_and_the_same_input_gives_the_same_noise(paint: Paint) -> None:
    picture = floats(paint(96, 64))
    filled = matched_noise(picture, hole(64, 96, 32))
    assert np.array_equal(filled[:, 32:], picture[:, 32:])
    assert np.array_equal(filled, matched_noise(picture, hole(64, 96, 32)))
    assert not np.array_equal(filled, matched_noise(picture, hole(64, 96, 32), seed=1))


def test_noise_has_the_pictures_histogram(paint: Paint) -> None:
    picture = floats(paint(96, 64))
    filled = matched_noise(picture, hole(64, 96, 32))
    for channel in range(3):
        levels = np.linspace(0, 1, 9)
        known, new = (np.quantile(part[..., channel], levels) for part in (picture[:, 32:], filled[:, :32]))
        assert new == pytest.approx(known, abs=0.02)


def test_hidden_colours_never_show() -> None:
    picture = np.full((32, 48, 3), 0.5, dtype=np.float32)
    picture[:, 24:] += np.float32(0.1) * np.sign(np.sin(np.arange(24, dtype=np.float32)))[:, None]
    hidden = picture.copy()
    hidden[:, :24] = [1.0, 0.0, 1.0]
    assert np.array_equal(matched_noise(picture, hole(32, 48, 24)), matched_noise(hidden, hole(32, 48, 24)))


def grain(filled: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> float:
    """Mean difference of neighbours."""
    return float(np.abs(np.diff(filled, axis=0)).mean())


def test_a_lower_exponent_gives_finer_grain(paint: Paint) -> None:
    picture, unknown = floats(paint(128, 128)), hole(128, 128, 64)
    fine, usual, coarse = (
        grain(matched_noise(picture, unknown, exponent=exponent)[:, :64]) for exponent in (0.3, 1.0, 2.0)
    )
    assert fine > 1.5 * usual
    assert usual > coarse


def test_grey_noise_moves_the_channels_together() -> None:
    """On a grey picture no colour is drawn into the noise unless asked for."""
    picture = np.repeat(floats(Image.effect_noise((64, 64), 60))[..., None], 3, axis=2)
    grey = matched_noise(picture, hole(64, 64, 32), colour=0.0)[:, :32]
    coloured = matched_noise(picture, hole(64, 64, 32), colour=0.5)[:, :32]
    assert np.ptp(grey, axis=-1).max() < 1e-3
    assert np.ptp(coloured, axis=-1).mean() > 0.02


def test_nothing_known_is_noise_around_grey() -> None:
    filled = matched_noise(np.zeros((32, 32, 3), dtype=np.float32), np.ones((32, 32), dtype=np.float32))
    assert abs(float(filled.mean()) - 0.5) < 0.05
    assert filled.std() > 0.1


def test_an_even_picture_is_continued_evenly() -> None:
    filled = matched_noise(np.full((16, 16, 3), 0.25, dtype=np.float32), hole(16, 16, 8))
    assert filled == pytest.approx(np.full((16, 16, 3), 0.25))


# ---- mk2


def test_one_run_of_mk2(paint: Paint) -> None:
    picture = paint(128, 96)
    run = expand(picture, Side.LEFT, 64, (128, 128), mask_blur=8)
    assert run.canvas.size == (192, 96)
    assert run.window == (0, 0, 128, 96)
    assert run.size == run.mask.size == run.latent_mask.size == (128, 96)
    assert (run.blur_x, run.blur_y) == (32, 0)
    assert np.asarray(run.mask)[0].tolist() == [255] * 72 + [0] * 56
    assert np.asarray(run.latent_mask)[0].tolist() == [255] * 80 + [0] * 48
    kept = np.asarray(run.canvas)[:, 72:]
    assert np.array_equal(kept, np.asarray(picture)[:, 8:])
    assert np.asarray(run.canvas)[:, :72].std() > 10


@pytest.mark.parametrize(
    ("side", "window", "masked"),
    [
        (Side.RIGHT, (64, 0, 192, 96), (56, 0, 128, 96)),
        (Side.UP, (0, 0, 128, 128), (0, 0, 128, 72)),
        (Side.DOWN, (0, 32, 128, 160), (0, 56, 128, 128)),
    ],
)
def test_the_other_sides_of_mk2(
    side: Side, window: tuple[int, ...], masked: tuple[int, ...], paint: Paint
) -> None:
    run = expand(paint(128, 96), side, 64, (128, 128), mask_blur=8)
    assert run.window == window
    assert run.mask.getbbox() == masked
    assert (run.blur_x, run.blur_y) == ((32, 0) if side is Side.RIGHT else (0, 32))


@pytest.mark.parametrize("side", list(Side))
def test_a_result_goes_to_its_place(side: Side, paint: Paint) -> None:
    run = expand(paint(128, 96), side, 64, (72, 72), mask_blur=4)
    grown = run.finish(Image.new("RGB", run.size, (255, 0, 255)))
    assert grown.size == run.canvas.size
    assert grown.crop(run.window).getcolors() == [(run.window.width * run.window.height, (255, 0, 255))]
    outside = grown.copy()
    outside.paste(run.canvas.crop(run.window), run.window[:2])
    assert outside.tobytes() == run.canvas.tobytes()
    assert run.finish(run.init).tobytes() == run.canvas.tobytes()


def test_a_picture_that_is_no_multiple_of_8_is_rendered_at_one(paint: Paint) -> None:
    run = expand(paint(100, 61), Side.RIGHT, 28, (128, 128))
    assert run.canvas.size == (128, 61)
    assert run.size == (128, 64)
    assert run.finish(Image.new("RGB", run.size)).size == (128, 61)


def test_a_blur_wider_than_the_picture_masks_all_of_it(paint: Paint) -> None:
    run = expand(paint(16, 16), Side.DOWN, 48, (64, 64), mask_blur=64)
    assert run.mask.getextrema() == run.latent_mask.getextrema() == (255, 255)


# ---- poor man's


def test_poor_mans_runs_are_the_tiles_with_something_new(paint: Paint) -> None:
    picture = paint(128, 128)
    canvas = poor_mans(picture, Margins(right=64), (64, 64), pixels=16, mask_blur=4)
    assert canvas.grid.size == (192, 128)
    assert canvas.blur == 8
    new = [index for index, region in enumerate(canvas.grid.regions) if region.right > 128 - 8]
    assert [run.index for run in canvas.runs] == new
    assert 0 < len(new) < len(canvas.tiles)
    first = canvas.runs[0]
    region = canvas.grid.regions[first.index]
    assert region.left < 120
    assert first.mask.getbbox() == (120 - region.left, 0, 64, 64)
    assert first.latent_mask.getbbox() == (126 - region.left, 0, 64, 64)


def test_poor_mans_results_are_stitched(paint: Paint) -> None:
    picture = paint(128, 128)
    canvas = poor_mans(picture, Margins(up=64), (64, 64), pixels=16)
    untouched = canvas.finish([run.init for run in canvas.runs])
    assert untouched.crop((0, 64, 128, 192)).tobytes() == picture.tobytes()
    assert untouched.crop((0, 0, 128, 64)).getbbox() is None
    grown = canvas.finish([Image.new("RGB", (64, 64), (3, 2, 1)) for _ in canvas.runs])
    assert grown.crop((0, 0, 128, 64)).getcolors() == [(128 * 64, (3, 2, 1))]
    difference = ImageChops.difference(grown, untouched).getbbox()
    assert difference is not None
    assert difference[3] < 192  # the lowest tiles hold nothing new


def test_an_overlap_larger_than_a_tile_is_reduced(paint: Paint) -> None:
    canvas = poor_mans(paint(64, 64), Margins(left=128), (64, 64), pixels=128)
    assert canvas.grid.overlap == 32
