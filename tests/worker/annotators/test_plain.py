"""Preprocessors without weights, on drawn pictures whose edges and colours are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from easel_contract.controlnet.module_table import FREE
from easel_worker.annotators import Annotators, Pixels
from easel_worker.annotators.canvas import LONGEST, MOST_PIXELS
from easel_worker.annotators.plain.sharpen import sharpened
from easel_worker.annotators.scribbles import drawing_of

from .pictures import BLUE, RED, disc, distances, halves, noise

SAME = ("none", "tile_colorfix", "tile_colorfix+sharp")
REFERENCES = ("reference_only", "reference_adain", "reference_adain+attn")


def _no_device() -> torch.device:
    raise AssertionError("no preprocessor without weights may ask for a device")


@pytest.fixture
def annotators(tmp_path: Path) -> Annotators:
    return Annotators(tmp_path, _no_device, allow_pickle=False)


def map_of(annotators: Annotators, module: str, picture: Pixels, **controls: float) -> Pixels:
    made = annotators.run(module, picture, **{"resolution": 128, **controls})
    assert made.map.dtype == np.uint8
    assert made.poses is None
    return made.map


def test_just_these_are_there_without_a_file(annotators: Annotators) -> None:
    free = [module.name for module in FREE]
    assert set(annotators.available()) >= set(free)
    assert len(free) == 19
    assert not any(annotators.needs_torch(name) for name in free)


def test_canny_finds_the_edge_of_a_disc_and_nothing_else(annotators: Annotators) -> None:
    edges = map_of(annotators, "canny", disc(radius=40))
    assert set(np.unique(edges)) == {0, 255}
    drawn = edges[..., 0] > 0
    assert np.abs(distances(128, 128)[drawn] - 40).max() <= 2
    angles = np.arctan2(*(np.argwhere(drawn) - 64).T)
    assert len(np.unique(np.digitize(angles, np.linspace(-np.pi, np.pi, 60)))) >= 60, "all the way around"


def test_cannys_thresholds_decide_which_edges_count(annotators: Annotators) -> None:
    faint = disc(colour=(240, 240, 240))
    assert map_of(annotators, "canny", faint).max() == 0
    assert map_of(annotators, "canny", faint, threshold_a=5, threshold_b=10).max() == 255


def test_settings_out_of_range_are_the_defaults(annotators: Annotators) -> None:
    usual = annotators.run("canny", disc(), resolution=512, threshold_a=100, threshold_b=200).map
    assert usual.shape == (512, 512, 3)
    for wrong in (-100.0, 1e9):
        made = annotators.run("canny", disc(), resolution=wrong, threshold_a=wrong, threshold_b=wrong)
        np.testing.assert_array_equal(made.map, usual)


def test_inverting_twice_changes_nothing(annotators: Annotators) -> None:
    picture = noise()
    once = map_of(annotators, "invert", picture)
    np.testing.assert_array_equal(once, 255 - picture)
    np.testing.assert_array_equal(map_of(annotators, "invert", once), picture)


def test_blur_has_the_sigma_asked_for(annotators: Annotators) -> None:
    picture = np.zeros((128, 128, 3), np.uint8)
    picture[:, 64:] = 255
    for sigma in (3.0, 9.0):
        row = map_of(annotators, "blur_gaussian", picture, threshold_a=sigma)[64, :, 0] / 255.0
        slope = np.diff(row)
        spread = np.sqrt((slope * (np.arange(127) - 63.0) ** 2).sum() / slope.sum())
        assert spread == pytest.approx(sigma, rel=0.1), "the slope of a blurred edge is the Gaussian itself"


def test_xdog_draws_dark_strokes_white_and_weaker_ones_only_with_a_lower_threshold(
    annotators: Annotators,
) -> None:
    picture = np.full((128, 128, 3), 255, np.uint8)
    picture[:, 40:42] = 0
    picture[:, 90:92] = 225
    strict, loose = (map_of(annotators, "scribble_xdog", picture, threshold_a=a) for a in (64, 8))
    assert set(np.unique(strict)) == {0, 255}
    assert strict[:, 40:42].min() == 255
    assert strict[:, 90:92].max() == 0
    assert loose[:, 90:92].min() == 255
    assert loose[:, 60:75].max() == 0


def test_lineart_draws_a_thin_line_and_no_plain_area(annotators: Annotators) -> None:
    picture = np.full((128, 128, 3), 250, np.uint8)
    picture[:, 63:65] = 30
    lines = map_of(annotators, "lineart_standard", picture)
    assert lines[:, 63:65].min() >= 100
    assert lines[:, :30].max() == 0
    assert lines[:, 98:].max() == 0


def test_shuffle_is_the_seeds_and_keeps_the_colours(annotators: Annotators) -> None:
    picture = halves()
    one, again, other = (map_of(annotators, "shuffle", picture, seed=seed) for seed in (7, 7, 8))
    np.testing.assert_array_equal(one, again)
    assert (one != other).mean() > 0.1
    assert (one != picture).mean() > 0.1
    red = np.abs(one.astype(int) - RED).sum(axis=2) < 30
    blue = np.abs(one.astype(int) - BLUE).sum(axis=2) < 30
    assert (red | blue).mean() > 0.9
    assert red.any()
    assert blue.any()


def test_shuffle_draws_as_numpys_global_generator_does_elsewhere(annotators: Annotators) -> None:
    from easel_worker.annotators.networks.library import aux

    picture = noise(128, 192)
    np.random.seed(1234)  # what other programs seed, whose maps should be these
    theirs = aux("shuffle").ContentShuffleDetector()(
        picture, detect_resolution=128, image_resolution=128, output_type="np"
    )
    np.testing.assert_array_equal(map_of(annotators, "shuffle", picture, seed=1234), theirs)


@pytest.mark.parametrize(("level", "white"), [(99, True), (100, False)])
def test_threshold_is_black_or_white(annotators: Annotators, level: int, white: bool) -> None:
    made = map_of(annotators, "threshold", np.full((128, 128, 3), 100, np.uint8), threshold_a=level)
    assert set(np.unique(made)) == {255 if white else 0}


def test_threshold_wants_every_channel_above(annotators: Annotators) -> None:
    assert map_of(annotators, "threshold", halves(), threshold_a=127).max() == 0


@pytest.mark.parametrize(("rate", "size"), [(1, (60, 90)), (2, (30, 45)), (8, (8, 11))])
def test_tile_resample_divides_the_sides(annotators: Annotators, rate: int, size: tuple[int, int]) -> None:
    made = map_of(annotators, "tile_resample", noise(90, 60), threshold_a=rate)
    assert made.shape == (*size, 3)


def test_the_colour_grid_is_constant_in_its_cells_and_their_mean(annotators: Annotators) -> None:
    picture = noise(256, 128)
    made = map_of(annotators, "color", picture)
    for top in (0, 64):
        for left in (0, 64, 128, 192):
            cell = made[top : top + 64, left : left + 64]
            assert (cell == cell[0, 0]).all()
            mean = picture[top : top + 64, left : left + 64].mean(axis=(0, 1))
            assert np.abs(cell[0, 0] - mean).max() <= 1


@pytest.mark.parametrize("module", ["recolor_luminance", "recolor_intensity"])
def test_recolor_is_grey_and_its_gamma_a_power(annotators: Annotators, module: str) -> None:
    plain = map_of(annotators, module, noise())
    assert (plain == plain[..., :1]).all()
    dark = map_of(annotators, module, noise(), threshold_a=2.0)
    expected = (plain / 255.0) ** 2 * 255.0
    assert np.abs(dark - expected).max() <= 1


def test_the_two_kinds_of_grey_differ_in_what_is_bright(annotators: Annotators) -> None:
    blue = np.zeros((128, 128, 3), np.uint8)
    blue[..., 2] = 255
    assert map_of(annotators, "recolor_intensity", blue)[0, 0, 0] == 255
    assert 70 < map_of(annotators, "recolor_luminance", blue)[0, 0, 0] < 95, "L* of pure blue is 32 of 100"


@pytest.mark.parametrize("module", [*SAME, *REFERENCES])
def test_some_hand_the_picture_on(annotators: Annotators, module: str) -> None:
    picture = noise(33, 71)
    np.testing.assert_array_equal(map_of(annotators, module, picture), picture)


@pytest.mark.parametrize("module", ["inpaint", "inpaint_only"])
def test_inpaint_hides_just_what_is_masked(annotators: Annotators, module: str) -> None:
    picture = noise(70, 50)
    mask = np.zeros((50, 70), np.uint8)
    mask[10:20, 30:60] = 255
    made = annotators.run(module, picture, mask=mask)
    hint = made.hint[0].numpy()
    assert hint.shape == (3, 50, 70)
    np.testing.assert_array_equal((hint == -1).all(axis=0), mask == 255)
    kept = mask == 0
    np.testing.assert_allclose(hint[:, kept], picture[kept].T / 255.0, atol=1e-6)
    assert set(np.unique(made.shown[..., 3])) == {128, 255}


def test_a_mask_of_another_size_is_brought_to_the_pictures(annotators: Annotators) -> None:
    mask = np.zeros((20, 20), np.uint8)
    mask[:, 10:] = 255
    hint = annotators.run("inpaint", noise(80, 40), mask=mask).hint[0].numpy()
    assert (hint[:, :, 44:] == -1).all()
    assert (hint[:, :, :36] >= 0).all()


def test_inpaint_without_a_mask_hides_nothing(annotators: Annotators) -> None:
    assert float(annotators.run("inpaint_only", noise(40, 40)).hint.min()) >= 0


@pytest.mark.parametrize("size", [(101, 67), (3, 3), (1, 1), (640, 10)])
@pytest.mark.parametrize("module", [module.name for module in FREE if module.resolution is not None])
def test_the_shorter_side_gets_the_resolution(
    annotators: Annotators, module: str, size: tuple[int, int]
) -> None:
    made = map_of(annotators, module, noise(*size), resolution=64)
    width, height = size
    factor = 64 / min(size)
    assert made.shape == (round(height * factor), round(width * factor), 3)


def test_a_stripe_does_not_grow_without_bounds(annotators: Annotators) -> None:
    made = map_of(annotators, "shuffle", np.zeros((1, 1_000, 3), np.uint8), resolution=2048)
    assert made.shape[0] * made.shape[1] <= MOST_PIXELS
    assert made.shape[1] <= LONGEST
    assert made.shape[0] >= 8, "it grew all the same"
    assert made.shape[1] == pytest.approx(made.shape[0] * 1_000, rel=0.2)
    wide = map_of(annotators, "shuffle", np.zeros((1, 30_000, 3), np.uint8), resolution=2048)
    assert wide.shape[:2] == (1, LONGEST)


def test_the_padding_is_cut_off_again(annotators: Annotators) -> None:
    picture = np.full((100, 130, 3), 255, np.uint8)
    made = map_of(annotators, "canny", picture, resolution=100)
    assert made.shape == (100, 130, 3)
    assert made.max() == 0, "a border of another colour would have an edge"


def test_sharpening_strengthens_detail_and_leaves_flat_areas_and_strong_edges() -> None:
    flat = np.full((64, 64, 3), 90, np.uint8)
    np.testing.assert_array_equal(sharpened(flat, 2.0), flat)
    fine = flat + (noise(64, 64) % 7).astype(np.uint8)
    assert sharpened(fine, 1.0).std() > 1.5 * fine.std()
    np.testing.assert_array_equal(sharpened(fine, 0.0), fine)
    edge = halves(64, 64)
    assert np.abs(sharpened(edge, 1.0).astype(int) - edge).max() <= 8, "no halo"


def test_a_mask_is_a_drawing_unless_it_is_all_clear_or_all_full() -> None:
    mask = np.zeros((8, 8), np.uint8)
    assert drawing_of(None) is None
    assert drawing_of(mask + 5) is None
    assert drawing_of(mask + 250) is None
    mask[2] = 255
    drawn = drawing_of(mask)
    assert drawn is not None
    np.testing.assert_array_equal(drawn, np.dstack([mask] * 3))
