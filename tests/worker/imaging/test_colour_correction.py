"""LAB colours, histograms, and a result that gets its colours back."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from easel_worker.imaging.color import (
    correct_colours,
    lab_to_rgb,
    match_histograms,
    rgb_to_lab,
    with_luminosity,
)

from .conftest import Paint


def column(*values: float) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return np.array(values, dtype=np.float32)[:, None]


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((255, 255, 255), (100.0, 0.0, 0.0)),
        ((0, 0, 0), (0.0, 0.0, 0.0)),
        ((119, 119, 119), (50.03, 0.0, 0.0)),
        ((255, 0, 0), (53.24, 80.09, 67.20)),
        ((0, 255, 0), (87.73, -86.18, 83.18)),
        ((0, 0, 255), (32.30, 79.19, -107.86)),
    ],
)
def test_lab_of_known_colours(rgb: tuple[int, ...], lab: tuple[float, ...]) -> None:
    """Values of the CIE formulas with sRGB's matrix and D65, as published (Lindbloom's calculator)."""
    assert rgb_to_lab(np.array(rgb, dtype=np.uint8)) == pytest.approx(np.array(lab), abs=0.01)


def test_lab_and_back_is_exact_for_every_colour_of_a_lattice() -> None:
    levels = np.arange(0, 256, 5, dtype=np.uint8)
    lattice = np.stack(np.meshgrid(levels, levels, levels), axis=-1)
    assert np.array_equal(lab_to_rgb(rgb_to_lab(lattice)), lattice)


def test_colours_beyond_srgb_are_clipped() -> None:
    assert lab_to_rgb(np.array([120.0, 0.0, 0.0], dtype=np.float32)).tolist() == [255, 255, 255]
    assert lab_to_rgb(np.array([-5.0, 0.0, 0.0], dtype=np.float32)).tolist() == [0, 0, 0]


def test_values_go_to_the_same_quantile() -> None:
    matched = match_histograms(column(3, 1, 2, 2), column(10, 20, 20, 70))
    assert matched.ravel().tolist() == [70, 10, 20, 20]


def test_histograms_of_different_lengths() -> None:
    """One value in two is 0: quantiles 0.5 and 1 of 10, 20, 30, 40 are 20 and 40."""
    assert match_histograms(column(0, 9), column(10, 20, 30, 40)).ravel().tolist() == [20, 40]


@settings(deadline=None)
@given(st.lists(st.integers(0, 255), min_size=1, max_size=60))
def test_matching_with_itself_changes_nothing(values: list[int]) -> None:
    source = column(*values)
    assert np.array_equal(match_histograms(source, source), source)


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 255), min_size=1, max_size=40),
    st.lists(st.integers(0, 255), min_size=1, max_size=40),
)
def test_matching_keeps_the_order_and_the_range(values: list[int], others: list[int]) -> None:
    source, reference = column(*values), column(*others)
    matched = match_histograms(source, reference)
    assert matched.min() >= reference.min()
    assert matched.max() == reference.max()
    order = np.argsort(source[:, 0], kind="stable")
    assert (np.diff(matched[order, 0]) >= 0).all()


def test_luminosity_is_taken_and_colours_stay_in_range() -> None:
    rng = np.random.default_rng(3)
    colour, light = rng.random((2, 500, 3), dtype=np.float32)
    blended = with_luminosity(colour, light)
    weights = np.array([0.3, 0.59, 0.11], dtype=np.float32)
    assert blended @ weights == pytest.approx(light @ weights, abs=1e-5)
    assert blended.min() >= 0.0
    assert blended.max() <= 1.0


def test_luminosity_shifts_where_nothing_has_to_be_clipped() -> None:
    shifted = with_luminosity(
        np.array([0.4, 0.5, 0.6], dtype=np.float32), np.array([0.6, 0.6, 0.6], dtype=np.float32)
    )
    grey = 0.3 * 0.4 + 0.59 * 0.5 + 0.11 * 0.6
    assert shifted == pytest.approx(np.array([0.4, 0.5, 0.6]) + 0.6 - grey, abs=1e-6)


def test_a_picture_corrected_to_itself_stays(paint: Paint) -> None:
    picture = paint(45, 33)
    for keep in (True, False):
        corrected = np.asarray(correct_colours(picture, picture, keep_luminosity=keep)).astype(int)
        assert np.abs(corrected - np.asarray(picture)).max() <= 1


def mean_lab(picture: Image.Image) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    mean: np.ndarray[tuple[int], np.dtype[np.float32]] = rgb_to_lab(np.asarray(picture)).mean(axis=(0, 1))
    return mean


def test_correction_moves_the_mean_colour_to_the_references(paint: Paint) -> None:
    reference = paint(64, 48, seed=1)
    faded = reference.point(lambda level: level // 2 + 60)
    before = np.abs(mean_lab(faded) - mean_lab(reference))
    corrected = correct_colours(faded, reference, keep_luminosity=False)
    assert before.max() > 5
    assert np.abs(mean_lab(corrected) - mean_lab(reference)).max() < 0.5


def test_colours_of_one_lab_level_go_the_same_way() -> None:
    """A difference too small to see does not decide which of the reference's colours a pixel gets."""
    near = np.array([[[120, 120, 120], [121, 120, 120]]], dtype=np.uint8)
    levels = np.rint(rgb_to_lab(near) * np.array([2.55, 1.0, 1.0], dtype=np.float32))
    assert np.array_equal(levels[0, 0], levels[0, 1])
    reference = Image.fromarray(np.array([[[40, 40, 40], [250, 250, 250]]], dtype=np.uint8))
    corrected = np.asarray(correct_colours(Image.fromarray(near), reference, keep_luminosity=False))
    assert np.abs(corrected[0, 0].astype(int) - corrected[0, 1]).max() <= 1
    assert corrected.min() >= 249


def test_light_and_dark_stay_as_rendered(paint: Paint) -> None:
    weights = np.array([0.3, 0.59, 0.11])
    result = paint(64, 48, seed=2)
    corrected = correct_colours(result, paint(50, 70, seed=3))
    light, corrected_light = (np.asarray(picture) @ weights for picture in (result, corrected))
    assert np.abs(light - corrected_light).max() <= 1
    assert np.abs(mean_lab(corrected) - mean_lab(result)).max() > 1
