"""The drawings: what a scene says is what the picture shows."""

from __future__ import annotations

import math
from random import Random

import numpy as np
import pytest

from easel_shapes.recipe.drawing import Item, Scene, draw_scene, shape_mask, stripe_colour
from easel_shapes.recipe.scenes import (
    held_out_combinations,
    is_held_out,
    is_plain_to_see,
    random_scene,
    single_scene,
)
from easel_shapes.recipe.words import COLOURS, SHAPES


def mask_of(shape: str, fill: str = "plain", radius: float = 40.0) -> np.ndarray:
    return np.asarray(shape_mask(shape, fill, 120, (60.0, 60.0), radius)) / 255


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_is_whole_and_centred(shape: str) -> None:
    mask = mask_of(shape)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    assert rows[0] > 10
    assert columns[0] > 10
    assert rows[-1] < 109
    assert columns[-1] < 109
    assert (rows[0] + rows[-1] + 1) / 2 == pytest.approx(60, abs=6)
    assert (columns[0] + columns[-1] + 1) / 2 == pytest.approx(60, abs=6)


@pytest.mark.parametrize(
    ("shape", "area"),
    [
        ("circle", math.pi),
        ("square", 1.74**2),
        ("ring", math.pi * (1 - 0.52**2)),
        ("diamond", 2 * 1.06 * 0.74),
    ],
)
def test_a_shape_covers_its_area(shape: str, area: float) -> None:
    assert mask_of(shape).sum() / 40**2 == pytest.approx(area, rel=0.02)


def test_no_two_shapes_look_alike() -> None:
    masks = {shape: mask_of(shape) > 0.5 for shape in SHAPES}
    for shape, mask in masks.items():
        for other, theirs in masks.items():
            overlap = (mask & theirs).sum() / (mask | theirs).sum()
            assert shape == other or overlap < 0.92, (shape, other)


def test_edges_are_anti_aliased() -> None:
    mask = mask_of("circle")
    assert ((mask > 0.1) & (mask < 0.9)).sum() > 100


@pytest.mark.parametrize("shape", SHAPES)
def test_an_outline_is_hollow_and_lies_inside_the_shape(shape: str) -> None:
    plain, outline = mask_of(shape), mask_of(shape, "outlined")
    assert (outline <= plain + 0.02).all()
    assert 0.1 < outline.sum() / plain.sum() < 0.8


def test_stripes_add_a_second_colour() -> None:
    item = Item("square", "blue", 0.5, 0.5, 0.4, fill="striped")
    colours = {tuple(pixel) for row in draw_scene(Scene(128, 128, "white", (item,))) for pixel in row}
    assert COLOURS["blue"] in colours
    assert stripe_colour(COLOURS["blue"]) in colours


@pytest.mark.parametrize(("width", "height"), [(128, 128), (96, 160), (200, 104)])
def test_a_scene_has_its_size_background_and_colour(width: int, height: int) -> None:
    scene = single_scene(
        Random(3), "circle", "red", "cyan", size="medium", position="top", width=width, height=height
    )
    picture = draw_scene(scene)
    assert picture.shape == (height, width, 3)
    assert tuple(picture[-1, 0]) == COLOURS["cyan"]
    item = scene.items[0]
    assert tuple(picture[int(item.y * height), int(item.x * width)]) == COLOURS["red"]


def test_an_unknown_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="'blob' is unknown"):
        mask_of("blob")


def test_training_never_draws_what_is_held_out() -> None:
    rng = Random(0)
    for _ in range(500):
        scene = random_scene(rng)
        assert is_plain_to_see(scene)
        for item in scene.items:
            assert not is_held_out(item.shape, item.colour, scene.background)


def test_every_shape_and_colour_has_held_out_combinations() -> None:
    combinations = held_out_combinations()
    assert {shape for shape, _, _ in combinations} == set(SHAPES)
    assert {colour for _, colour, _ in combinations} == set(COLOURS)
    assert 0.04 < len(combinations) / (len(SHAPES) * len(COLOURS) * (len(COLOURS) - 1)) < 0.09


def test_the_same_seed_draws_the_same_scenes() -> None:
    assert [random_scene(Random(7)) for _ in range(3)] == [random_scene(Random(7)) for _ in range(3)]


def test_scenes_of_all_kinds_come() -> None:
    rng = Random(1)
    scenes = [random_scene(rng) for _ in range(400)]
    assert {len(scene.items) for scene in scenes} == {1, 2, 3}
    assert {scene.layout for scene in scenes} == {"single", "row", "column", "three"}
    assert {item.fill for scene in scenes for item in scene.items} == {"plain", "striped", "outlined"}
