"""What the survey reads off a picture is right for clean drawings, or its figures mean nothing."""

from __future__ import annotations

from random import Random

import pytest

from easel_shapes.recipe.drawing import draw_scene
from easel_shapes.recipe.scenes import is_plain_to_see, single_scene
from easel_shapes.recipe.survey import is_hollow, is_striped, main_colour, size_of
from easel_shapes.recipe.words import COLOURS, SHAPES

SOLID = [shape for shape in SHAPES if shape not in ("ring", "crescent", "cross", "star")]


@pytest.mark.parametrize("size", ["small", "medium", "large"])
@pytest.mark.parametrize("shape", SOLID)
def test_sizes(shape: str, size: str) -> None:
    rng = Random(3)
    for _ in range(10):
        scene = single_scene(rng, shape, "red", "white", size=size, position="centre")
        assert size_of(draw_scene(scene)) == size


def test_fills_of_every_colour_on_every_background() -> None:
    rng = Random(4)
    for colour in COLOURS:
        for background in COLOURS:
            for fill in ("plain", "striped", "outlined"):
                scene = single_scene(rng, rng.choice(SOLID), colour, background, fill=fill, size="large")
                if colour == background or not is_plain_to_see(scene):
                    continue
                picture = draw_scene(scene)
                assert is_hollow(picture, colour) == (fill == "outlined"), scene
                assert is_striped(picture) == (fill == "striped"), scene
                if fill != "striped":
                    assert main_colour(picture) == colour


def test_an_empty_picture_has_no_attributes() -> None:
    picture = draw_scene(single_scene(Random(0), "circle", "red", "white"))
    picture = picture.copy()
    picture[:] = 255
    assert size_of(picture) == main_colour(picture) == ""
    assert not is_hollow(picture, "red")
    assert not is_striped(picture)
