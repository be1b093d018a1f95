"""A fresh data directory's ControlNet and LoRAs, named in requests: pictures show what they are for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from easel_shapes.recipe import measure
from easel_shapes.recipe.drawing import Item, Scene, draw_scene
from easel_shapes.recipe.edges import canny, in_white
from easel_shapes.recipe.judge_companions import is_arrow, overlap
from easel_shapes.recipe.survey import is_striped

from ...looking import look
from ..desk import BARE, Answer, Desk
from .controlled import equal, units

FOLLOWED = 0.75
"""IoU of the drawn shape and the inside of its outline; the model card has the measured ones."""
SHOWN: dict[str, Any] = {
    "width": 128,
    "height": 128,
    "steps": 20,
    "cfg_scale": 7,
    "sampler_name": "DPM++ 2M",
    "seed": 3,
}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    """The first start of a worker."""
    desk = Desk(tmp_path_factory.mktemp("fresh"), BARE)
    desk.handler.setup()
    return desk


def drawing(shape: str, *, x: float = 0.5, y: float = 0.5, radius: float = 0.3) -> Scene:
    return Scene(128, 128, "black", (Item(shape, "white", x, y, radius),))


def follow(scene: Scene, **fields: Any) -> dict[str, Any]:
    """A unit with the scene's outline."""
    outline = Image.fromarray(canny(draw_scene(in_white(scene)))).convert("RGB")
    return units({"module": "none", "model": "easel-shapes-edges", "image": outline, **fields})


def score(answer: Answer, scene: Scene) -> float:
    return overlap(measure.foreground(answer.pixels[0]), draw_scene(scene)[..., 0] > 127)


@pytest.mark.parametrize(
    ("scene", "prompt"),
    [
        (drawing("heart"), "a red circle on a white background"),
        (drawing("triangle", x=0.35, y=0.6, radius=0.25), "a yellow square on a blue background"),
        (drawing("crescent", x=0.6, y=0.4), "a green star on a black background"),
    ],
    ids=["heart", "triangle", "crescent"],
)
def test_the_outline_says_which_shape_appears_and_where(fresh: Desk, scene: Scene, prompt: str) -> None:
    led = fresh.txt2img(prompt=prompt, **SHOWN, **follow(scene))
    assert score(led, scene) > FOLLOWED
    assert score(fresh.txt2img(prompt=prompt, **SHOWN), scene) < score(led, scene)


def test_canny_finds_the_outline_in_a_picture(fresh: Desk) -> None:
    scene = drawing("heart", x=0.4)
    unit = {"module": "canny", "model": "easel-shapes-edges", "image": Image.fromarray(draw_scene(scene))}
    led = fresh.txt2img(prompt="a red circle on white", **SHOWN, **units({**unit, "pixel_perfect": True}))
    assert score(led, scene) > FOLLOWED


def test_weight_0_is_no_controlnet_and_an_early_end_is_less_of_one(fresh: Desk) -> None:
    scene, asked = drawing("heart"), {"prompt": "a red circle on a white background", **SHOWN, "steps": 8}
    assert equal(fresh.txt2img(**asked, **follow(scene, weight=0)), fresh.txt2img(**asked))
    whole = fresh.txt2img(**asked, **follow(scene))
    assert not equal(fresh.txt2img(**asked, **follow(scene, guidance_end=0.3)), whole)


def test_the_pattern_changes_the_shape_and_nothing_else(fresh: Desk) -> None:
    asked = {**SHOWN, "prompt": "a blue square on a white background"}
    plain = fresh.txt2img(**asked)
    none, striped = (
        fresh.txt2img(**{**asked, "prompt": f"{asked['prompt']} <lora:easel-shapes-striped:{weight}>"})
        for weight in (0, 1)
    )
    assert equal(none, plain)
    assert is_striped(striped.pixels[0])
    assert not is_striped(plain.pixels[0])
    assert look(striped.pixels[0]).words == look(plain.pixels[0]).words == "blue square on white"
    one, other = (measure.foreground(answer.pixels[0]) for answer in (plain, striped))
    assert overlap(one, other) > 0.8
    outside = ~(one | other)
    change = np.abs(plain.pixels[0][outside].astype(float) - striped.pixels[0][outside])
    assert change.mean() < 4, "of 255, in the background"


def test_the_new_word_draws_the_new_shape_and_others_stay(fresh: Desk) -> None:
    def draw(prompt: str) -> np.ndarray[Any, Any]:
        return fresh.txt2img(prompt=prompt, **SHOWN).pixels[0]

    tag, asked = "<lora:easel-shapes-arrow:1>", "a red arrow on a white background"
    assert is_arrow(draw(f"{asked} {tag}"))
    assert not is_arrow(draw(asked))
    star = "a green star on a black background"
    plain, beside = draw(star), draw(f"{star} {tag}")
    assert look(plain).words == look(beside).words == "green star on black"
    assert overlap(measure.foreground(plain), measure.foreground(beside)) > 0.8
