"""What the language of prompts does to pictures of the shipped model."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ..looking import look

Render = Callable[..., NDArray[np.uint8]]


@pytest.fixture(scope="module")
def draw(render: Render) -> Render:
    drawn: dict[str, NDArray[np.uint8]] = {}
    quick = partial(render, seed=0, steps=8, cfg_scale=4.0)

    def draw(prompt: str, **fields: Any) -> NDArray[np.uint8]:
        if fields:
            return quick(prompt, **fields)
        if prompt not in drawn:
            drawn[prompt] = quick(prompt)
        return drawn[prompt]

    return draw


def difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


def on_white(things: str) -> str:
    return f"a {things} on a white background"


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        (on_white("[red:blue:0] circle"), "blue circle on white"),
        (on_white("[red:blue:0.3] circle"), "blue circle on white"),
        (on_white("red [circle:star:0.1]"), "red star on white"),
        ("a red circle AND a blue background", "red circle on blue"),
        (on_white("(red:1.3) circle"), "red circle on white"),
    ],
)
def test_what_is_to_be_seen(prompt: str, words: str, draw: Render) -> None:
    assert look(draw(prompt)).words == words


@pytest.mark.parametrize(
    ("edited", "plain"),
    [
        ("[red:blue:0]", "blue"),
        ("[red:blue:1.0]", "red"),
        ("[red|red]", "red"),
        ("([red])", "red"),
    ],
)
def test_an_edit_that_changes_nothing_gives_the_same_picture(edited: str, plain: str, draw: Render) -> None:
    np.testing.assert_array_equal(draw(on_white(f"{edited} circle")), draw(on_white(f"{plain} circle")))


@pytest.mark.parametrize("written", ["[red:blue:0.5]", "[red|blue]", "(red:1.5)", "[red]", "red BREAK"])
def test_every_form_changes_the_picture(written: str, draw: Render) -> None:
    picture = draw(on_white(f"{written} circle"))
    assert difference(picture, draw(on_white("red circle"))) > 0.3
    assert difference(picture, draw(on_white("blue circle"))) > 0.3


def test_negative_prompts_are_edited_too(draw: Render) -> None:
    prompt = on_white("red circle")
    white, red, early, late = (
        draw(prompt, negative_prompt=negative)
        for negative in (
            "white background",
            "a red circle",
            "[white background:a red circle:0]",
            "[white background:a red circle:1]",
        )
    )
    np.testing.assert_array_equal(early, red)
    assert difference(late, red) > 0.3
    assert difference(late, white) > 0.3


def test_a_part_without_weight_has_no_say(draw: Render) -> None:
    alone, without, whole = (
        draw(on_white("red circle") + part)
        for part in ("", " AND a blue background :0", " AND a blue background")
    )
    assert difference(alone, without) < 0.05
    assert difference(alone, whole) > 0.3
